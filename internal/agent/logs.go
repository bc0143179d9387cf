package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/machine"
)

// tailBytes bounds how far back the last lines of a log are looked for.
const tailBytes = 1 << 20

// serveLogs sends the last lines of a log and, if asked, what follows.
func (k *keeper) serveLogs(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("log")
	path, err := k.Folder.Log(name)
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
	if unit := unitOf[name]; unit != "" && machine.Is(string(k.Folder)) {
		err = sendJournal(r.Context(), w, unit, lines, follow)
	} else {
		err = k.Folder.sendLog(r.Context(), w, path, lines, follow)
	}
	if err != nil {
		k.Logger.Error("sending log", "log", path, "err", err)
	}
}

// unitOf are the units that write the logs which on a machine are in the journal. The daemon's own is a file there too.
var unitOf = map[string]string{"agent": machine.AgentUnit, "mesh": machine.MeshUnit, "supervisor": machine.NodeUnit}

// sendJournal sends what a unit said, as [Folder.sendLog] sends what is in a file.
func sendJournal(ctx context.Context, w http.ResponseWriter, unit string, lines int, follow bool) error {
	cmd := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--unit="+unit, "--lines="+strconv.Itoa(lines))
	if follow {
		cmd.Args = append(cmd.Args, "--follow")
	}
	cmd.Stdout, cmd.WaitDelay = flushed{w}, time.Second
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read the journal of %s: %w", unit, err)
	}
	return nil
}

// flushed sends everything on at once.
type flushed struct{ http.ResponseWriter }

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	return n, errors.Join(err, http.NewResponseController(f.ResponseWriter).Flush())
}

func (f Folder) sendLog(ctx context.Context, w http.ResponseWriter, path string, lines int, follow bool) error {
	var log *os.File
	err := f.asNode(func() (err error) { log, err = atomicfile.OpenPlain(path); return err })
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if err := seekLines(log, lines); err != nil {
		return err
	}
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		if _, err := io.Copy(w, log); err != nil {
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
		if err := rewindTruncated(log); err != nil {
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
