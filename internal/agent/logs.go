package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// tailBytes bounds how far back the last lines of a log are looked for.
const tailBytes = 1 << 20

// serveLogs sends the last lines of a log and, if asked, what follows.
func (k *keeper) serveLogs(w http.ResponseWriter, r *http.Request) {
	path, err := k.Folder.Log(r.URL.Query().Get("log"))
	if err != nil {
		writeProblem(w, refuse(http.StatusBadRequest, "invalid", err, ""))
		return
	}
	lines, err := strconv.Atoi(r.URL.Query().Get("lines"))
	if err != nil || lines < 0 {
		writeProblem(w, refuse(http.StatusBadRequest, "invalid", fmt.Errorf("lines %q", r.URL.Query().Get("lines")), ""))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	follow := r.URL.Query().Get("follow") == "true"
	if err := sendLog(r.Context(), w, path, lines, follow); err != nil {
		k.Logger.Error("sending log", "log", path, "err", err)
	}
}

func sendLog(ctx context.Context, w http.ResponseWriter, path string, lines int, follow bool) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := seekLines(f, lines); err != nil {
		return err
	}
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		if _, err := io.Copy(w, f); err != nil {
			return nil // the reader has gone
		}
		if !follow {
			return nil
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := rewindTruncated(f); err != nil {
			return err
		}
	}
}

// rewindTruncated goes back to the start of a log that was rotated by copying and truncating it.
func rewindTruncated(f *os.File) error {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || info.Size() >= at {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// seekLines puts f before its last n lines.
func seekLines(f *os.File, n int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	from := max(0, end-tailBytes)
	b := make([]byte, end-from)
	if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
		return err
	}
	at := len(b)
	for i := 0; i <= n && at > 0; i++ {
		cut := bytes.LastIndexByte(b[:max(0, at-1)], '\n')
		if i == n {
			break
		}
		at = cut + 1
	}
	_, err = f.Seek(from+int64(at), io.SeekStart)
	return err
}
