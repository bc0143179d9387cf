package supervisor

import (
	"io"
	"os"
)

// tailBytes is how much of a run's output is read to say why it ended.
const tailBytes = 256 << 10

// readTail reads the end of the file at path, at most limit bytes and nothing before start. A file that got shorter than
// start was rotated since; then all of it counts.
func readTail(path string, start, limit int64) []byte {
	b, _ := readFrom(path, start, limit)
	return b
}

// readFrom is readTail that also returns where to go on.
func readFrom(path string, start, limit int64) (b []byte, next int64) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, start
	}
	if start > info.Size() {
		start = 0
	}
	start = max(start, info.Size()-limit)
	b, err = io.ReadAll(io.NewSectionReader(f, start, info.Size()-start))
	if err != nil {
		return nil, start
	}
	return b, start + int64(len(b))
}
