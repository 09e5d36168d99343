// Package statements holds the documentation to what tests prove: a page states
// behaviour by number, tests name the numbers they prove, and a test that calls
// [Check] fails when the two differ.
//
// A statement is a line of the page that starts a list item or a table row:
//
//   - **I4** Bytes consumed are bytes delivered ...
//     | E17 | push in the middle of the only element | three elements |
//
// What proves it says so in a comment, "Proves E17, I4.", or is the transcript under
// a heading "# 17. ...", which means E17.
//
// Or it is the page that names the tests, in the line of the statement, and [CheckTests]
// looks for them:
//
//	| S11 | does not close after our FIN | ... | `TestDrainLingers` |
package statements
