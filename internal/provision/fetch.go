package provision

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// The release of OpenTofu that is fetched where there is no tool, and the SHA-256 of its archives, as in the release's
// tofu_1.12.6_SHA256SUMS. They are here so that nobody can put another program in its place, not even who signs releases.
const fetched = "1.12.6"

var archives = map[string]string{
	"linux_amd64":  "50a6106fa4de523d09c87af85f3db1dd47535fc005727fdca6852146476b88ec",
	"linux_arm64":  "9bd0228a81bcd0c88f7045c74378f45a815779f19897191dff7d9efba9976b9e",
	"darwin_amd64": "44bb1855f372f17f365fb94517906e78da5001da10f4c98de57a39bf982f3a92",
	"darwin_arm64": "f958ec5e511063be9feb180ca015a4cb7977566a9cf6a8550bba8c2a9b5aba74",
}

// What a release may be at most, in bytes: about four times what it is.
const (
	maxArchive = 128 << 20
	maxProgram = 512 << 20
)

// stall is how long nothing may come of an archive.
const stall = time.Minute

// Fetcher fetches OpenTofu, once. Its zero value does so from the project's releases, into the user's cache.
type Fetcher struct {
	Base     string // URL of the folder of releases
	Folder   string // where programs are kept
	Progress func(Event)

	archives map[string]string // of a test
}

// Get returns the tool that was fetched before, or fetches it.
func (f Fetcher) Get(ctx context.Context) (Tool, error) {
	if f.Base == "" {
		f.Base = "https://github.com/opentofu/opentofu/releases/download"
	}
	if f.Folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return Tool{}, fmt.Errorf("find a folder for OpenTofu: %w", err)
		}
		f.Folder = filepath.Join(cache, "pressenter", "fetched")
	}
	if f.archives == nil {
		f.archives = archives
	}
	platform := runtime.GOOS + "_" + runtime.GOARCH
	sum, known := f.archives[platform]
	if !known {
		return Tool{}, fmt.Errorf("no release of OpenTofu for %s is known here", platform)
	}
	// A program under this name was taken from the archive of this sum, whole.
	path := filepath.Join(f.Folder, "tofu-"+fetched+"-"+sum[:16])
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := f.fetch(ctx, platform, sum, path); err != nil {
			return Tool{}, err
		}
	}
	return look(ctx, path)
}

func (f Fetcher) fetch(ctx context.Context, platform, sum, path string) error {
	url := fmt.Sprintf("%s/v%s/tofu_%s_%s.tar.gz", f.Base, fetched, fetched, platform)
	f.tell("there is neither OpenTofu nor Terraform: fetching OpenTofu %s from %s", fetched, url)
	archive, err := download(ctx, url)
	if err != nil {
		return fmt.Errorf("fetch OpenTofu from %s: %w", url, err)
	}
	if got := sha256.Sum256(archive); hex.EncodeToString(got[:]) != sum {
		return fmt.Errorf("what came from %s has the SHA-256 %x, and OpenTofu %s has %s: it was changed on the way or there; nothing of it was run or kept", url, got, fetched, sum)
	}
	if err := unpack(archive, path); err != nil {
		return fmt.Errorf("unpack OpenTofu: %w", err)
	}
	f.tell("fetched OpenTofu %s: %.1f MB, of the SHA-256 that is known of it; it is kept in %s", fetched, float64(len(archive))/1e6, path)
	return nil
}

func (f Fetcher) tell(format string, args ...any) {
	if f.Progress != nil {
		f.Progress(Event{At: time.Now(), Message: fmt.Sprintf(format, args...)})
	}
}

// download reads what is at url, as long as something comes.
func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %s", stall)) })
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	var b bytes.Buffer
	for {
		_, err := io.CopyN(&b, resp.Body, 1<<20)
		watch.Reset(stall)
		switch {
		case errors.Is(err, io.EOF):
			return b.Bytes(), nil
		case err != nil:
			return nil, errors.Join(err, context.Cause(ctx))
		case b.Len() > maxArchive:
			return nil, fmt.Errorf("it is larger than %d bytes", maxArchive)
		}
	}
}

// unpack takes the program out of an archive and puts it at path, whole or not at all.
func unpack(archive []byte, path string) (err error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	t := tar.NewReader(io.LimitReader(z, maxProgram))
	for {
		h, err := t.Next()
		if err != nil {
			return fmt.Errorf("look for the program in the archive: %w", err)
		}
		if h.Name == "tofu" && h.Typeflag == tar.TypeReg {
			break
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	to, err := os.CreateTemp(filepath.Dir(path), ".tofu-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = to.Close(), os.Remove(to.Name())
		}
	}()
	if _, err = io.Copy(to, t); err != nil {
		return err
	}
	if err = errors.Join(to.Chmod(0o700), to.Sync()); err != nil {
		return err
	}
	if err = to.Close(); err != nil {
		return err
	}
	return atomicfile.Rename(to.Name(), path)
}
