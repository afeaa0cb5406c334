# Pages of tldr as description<TAB>command. usage: awk -f tldr.awk pages/*/*.md
# A page lists "- description:" lines, each followed by the command between backquotes.
/^- / {
  description = substr($0, 3)
  sub(/:[ \t\r]*$/, "", description)
  gsub(/\t/, " ", description)
}
/^`.*`[ \t\r]*$/ && description != "" {
  command = $0
  sub(/`[ \t\r]*$/, "", command)
  gsub(/\t/, " ", command)
  print description "\t" substr(command, 2)
  description = ""
}
