// Package lint checks the rules of this project that the Go tools do not know. It is
// run by its own test, over every Go file of the module whatever its build tags:
//
//	go test ./internal/lint
//
// Check walks a file tree, parses each file and returns what breaks a rule:
//
//   - imports go down only (the table in imports.go), and io_uring is reached through
//     internal/uapi alone;
//   - unsafe is imported only in files whose name says so, and in tests;
//   - no cgo;
//   - atomics are the typed ones of sync/atomic, except in unsafe files, where mapped
//     memory may have no type of its own;
//   - every package has a doc.go with a package comment;
//   - no file has more than MaxLines lines;
//   - tests do not call time.Sleep.
//
// Directories named testdata or vendor, or beginning with a dot or an underscore,
// and nested modules are left out. Test files are free of the import table, because
// an external test may look at a package from above.
package lint
