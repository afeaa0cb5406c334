# The files of FairytaleQA as a BEIR folder: sections of stories are documents, the splits are the
# data set's own. usage: awk -v out=DIRECTORY -f fairytaleqa.awk section-stories/*/*.csv questions/*/*.csv
# Ids are BOOK-SECTION and BOOK-qROW (the data set's own question ids are not unique). A question about
# several sections has them all as positives; so has one about a number that two sections of a book have:
# the second of them becomes BOOK-SECTION-2.

# Cuts one CSV record (RFC 4180) into field[1..]; between quotation marks, which split() takes
# away, the odd parts are outside of quotes, and an empty one there was a doubled mark.
function parse(record,    part, parts, piece, pieces, i, j, n) {
  parts = split(record, part, "\"")
  n = 1
  field[1] = ""
  for (i = 1; i <= parts; i++) {
    if (i % 2 == 0) {
      field[n] = field[n] part[i]
    } else if (part[i] == "" && i > 1 && i < parts) {
      field[n] = field[n] "\""
    } else {
      pieces = split(part[i], piece, ",")
      for (j = 1; j <= pieces; j++) {
        if (j > 1) field[++n] = ""
        field[n] = field[n] piece[j]
      }
    }
  }
  return n
}

function json(text) {
  gsub(/\\/, "\\\\", text)
  gsub(/"/, "\\\"", text)
  gsub(/\t/, "\\t", text)
  gsub(/\n/, "\\n", text)
  return "\"" text "\""
}

function column(name) {
  if (!(name in place)) {
    print FILENAME ": no column " name > "/dev/stderr"
    failed = 1
    exit 1
  }
  return field[place[name]]
}

function section_row(    key, id) {
  key = book "-" column("section")
  id = same[key]++ ? key "-" same[key] : key
  ids[key] = ids[key] " " id
  printf "{\"_id\": %s, \"text\": %s}\n", json(id), json(column("text")) > (out "/corpus.jsonl")
}

function question_row(    query, count, sections, i, several, id, j) {
  query = book "-q" ++row
  printf "{\"_id\": %s, \"text\": %s}\n", json(query), json(column("question")) > (out "/queries.jsonl")
  count = split(column("cor_section"), sections, ",")
  for (i = 1; i <= count; i++) {
    gsub(/ /, "", sections[i])
    several = split(ids[book "-" sections[i]], id, " ")
    if (!several) print FILENAME ": question " row ": no section " sections[i] > "/dev/stderr"
    for (j = 1; j <= several; j++) printf "%s\t%s\t1\n", query, id[j] > (out "/qrels/" split_name ".tsv")
  }
}

FNR == 1 {
  count = split(FILENAME, path, "/")
  split_name = path[count - 1] == "val" ? "dev" : path[count - 1]
  stories = path[count - 2] == "section-stories"
  book = path[count]
  sub(/-(story|questions)\.csv$/, "", book)
  sub(/^\357\273\277/, "")
  split("", place)
  header = 1
  row = 0
  record = ""
}

{
  sub(/\r$/, "")
  record = record == "" ? $0 : record "\n" $0
  if (gsub(/"/, "\"", record) % 2) next # a quoted field goes on with the next line
  n = parse(record)
  record = ""
  if (header) {
    for (i = 1; i <= n; i++) place[field[i]] = i
    header = 0
  } else if (n > 1) {
    if (stories) section_row()
    else question_row()
  }
}

END { exit failed }
