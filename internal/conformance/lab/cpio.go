package lab

import (
	"fmt"
	"io"
)

// archive writes a cpio archive of the format that the kernel unpacks ("newc"), from
// Documentation/driver-api/early-userspace/buffer-format.rst. The first error sticks.
type archive struct {
	w     io.Writer
	n     int64
	inode int
	err   error
}

// Modes of files.
const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeChar = 0o020600
)

// dir adds a directory, file a file, char a character device.
func (a *archive) dir(name string)               { a.entry(name, modeDir, 0, 0, nil) }
func (a *archive) file(name string, data []byte) { a.entry(name, modeFile, 0, 0, data) }
func (a *archive) char(name string, major, minor int) {
	a.entry(name, modeChar, major, minor, nil)
}

// close ends the archive and returns the first error.
func (a *archive) close() error {
	a.inode = -1
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode, major, minor int, data []byte) {
	a.inode++
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	a.write([]byte(head + name + "\x00"))
	a.pad()
	a.write(data)
	a.pad()
}

func (a *archive) pad() { a.write(make([]byte, -a.n&3)) }

func (a *archive) write(b []byte) {
	if a.err != nil {
		return
	}
	var n int
	n, a.err = a.w.Write(b)
	a.n += int64(n)
}
