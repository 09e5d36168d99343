// Package transcript runs the transcripts of tests: files that a reader can follow
// line by line, with what came of each command.
//
//	# 17. Push in the middle of the only element.
//
//	new [abcd]
//	push 2 1
//	----
//	[ab][.][cd]
//
// A file is a row of paragraphs. One that starts with # is a comment. The others
// have one command a line, a line of dashes, and the output; one that starts with
// "new" begins with a new [Script]. go test -update writes the output as it is.
package transcript
