package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
)

// Fields of a bzImage, from Documentation/arch/x86/boot.rst.
const (
	setupSectsAt    = 0x1f1
	magicAt         = 0x202
	versionAt       = 0x206
	payloadOffsetAt = 0x248
	payloadLengthAt = 0x24c
	headerEnd       = 0x250
)

// payload returns the compressed kernel of a bzImage.
func payload(image []byte) ([]byte, error) {
	if len(image) < headerEnd || string(image[magicAt:magicAt+4]) != "HdrS" {
		return nil, errors.New("no bzImage")
	}
	if v := binary.LittleEndian.Uint16(image[versionAt:]); v < 0x208 {
		return nil, fmt.Errorf("a bzImage of version %#x, want 0x208 or newer", v)
	}
	sects := uint64(image[setupSectsAt])
	if sects == 0 {
		sects = 4
	}
	from := (sects+1)*512 + uint64(binary.LittleEndian.Uint32(image[payloadOffsetAt:]))
	size := uint64(binary.LittleEndian.Uint32(image[payloadLengthAt:]))
	if from+size > uint64(len(image)) || size < 4 {
		return nil, fmt.Errorf("a bzImage of %d bytes with a payload from %d to %d", len(image), from, from+size)
	}
	return image[from : from+size], nil
}

// decompressor returns the program for what b begins with.
func decompressor(b []byte) (string, error) {
	switch {
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		return "zstd", nil
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		return "xz", nil
	}
	return "", fmt.Errorf("compressed in a way that begins with % x", b[:min(6, len(b))])
}

// decompress decompresses b.
func decompress(ctx context.Context, b []byte) ([]byte, error) {
	program, err := decompressor(b)
	if err != nil {
		return nil, err
	}
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "-dc")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(b), &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}

// vmlinux returns the uncompressed kernel of a bzImage.
func vmlinux(ctx context.Context, image []byte) ([]byte, error) {
	p, err := payload(image)
	if err != nil {
		return nil, err
	}
	// Its last four bytes are the size of the kernel, up to the end of its last section that is
	// loaded.
	size := binary.LittleEndian.Uint32(p[len(p)-4:])
	k, err := decompress(ctx, p[:len(p)-4])
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(k, []byte("\x7fELF")) || uint64(len(k)) < uint64(size) {
		return nil, fmt.Errorf("the kernel is no ELF file of %d bytes", size)
	}
	return k, nil
}
