#!/usr/bin/env bats
# The pages of docs/commands are what the program says of itself.

@test "docs/commands and the option tables agree" {
    "$TANDEM_SOURCE/scripts/docs.sh" "$TANDEM" "$BATS_TEST_TMPDIR/commands"
    diff -r "$TANDEM_SOURCE/docs/commands" "$BATS_TEST_TMPDIR/commands"
}
