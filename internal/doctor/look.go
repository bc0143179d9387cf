package doctor

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/daemon"
	"github.com/pressenter/pressenter/internal/deployment"
)

// Provider is what is needed of whoever supplies the hosts.
type Provider interface {
	Client(h deployment.Host) *api.Client
	Inspect(ctx context.Context, h deployment.Host) (api.HostStatus, error)
	Exists(ctx context.Context, h deployment.Host) (bool, error)
}

// Target is what to look at.
type Target struct {
	Dir      deployment.Dir // need not be there yet
	Provider Provider
	Version  string // of this program
	Daemon   string // path of the chain's program
	Expected int    // hosts on this computer, of a deployment that is not there yet
	Practice bool   // nothing of value is in it
	// PublicOf is where an SSH destination leads, a name or an address without port.
	PublicOf func(address string) (string, error)
	// Wait is how long to wait for a new block, to compare clocks by; 0: not at all.
	Wait time.Duration
}

// Look measures. It changes nothing, but for a file in the folder that it removes again.
func Look(ctx context.Context, t Target) Facts {
	start := time.Now()
	f := Facts{
		Program: Program{Version: t.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH},
		Memory:  memoryOf(), Files: filesOf(), Umask: umaskOf(), Folder: placeOf(t.Dir), Expected: t.Expected,
	}
	t.sides(ctx, &f)
	if len(f.Hosts) > 0 {
		f.Expected = len(f.here())
	}
	f.Chain = t.chainProgram(ctx, f)
	f.Clock = t.clock(ctx, start, &f)
	return f
}

// clock waits for a new block if there is a chain, so it comes last.
func (t Target) clock(ctx context.Context, start time.Time, f *Facts) Clock {
	c := Clock{Kernel: kernelClock(), Built: built(), Blocks: t.blocks(ctx, f.Hosts)}
	for _, s := range []deployment.Dir{t.Dir, t.Dir.World()} {
		path := filepath.Join(s.Operator(), "inventory.json")
		if st, err := os.Stat(path); err == nil && st.ModTime().After(c.Newest) {
			c.Newest, c.NewestPath = st.ModTime(), path
		}
		if c.Interval == 0 {
			c.Interval = blockInterval(s)
		}
	}
	end := time.Now()
	c.Start, c.End, c.Elapsed = start.Round(0), end.Round(0), end.Sub(start)
	return c
}

func blockInterval(d deployment.Dir) time.Duration {
	store, err := d.Rosters()
	if err != nil {
		return 0
	}
	if r := store.State().Effective; r != nil {
		return r.Chain.BlockTime
	}
	return 0
}

// built is when this program was, if it knows.
func built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			at, err := time.Parse(time.RFC3339, s.Value)
			if err == nil {
				return at
			}
		}
	}
	return time.Time{}
}

// runTimeout bounds the chain's program saying its version.
const runTimeout = 20 * time.Second

func (t Target) chainProgram(ctx context.Context, f Facts) ChainProgram {
	c := ChainProgram{Path: t.Daemon}
	if c.Path == "" {
		return c
	}
	if inv, err := t.Dir.LoadInventory(); err == nil && inv.Daemon.SHA256 != "" {
		c.Wanted = inv.Daemon.SHA256
		staged := filepath.Join(t.Dir.Store(), inv.Daemon.SHA256, inv.Daemon.Name)
		if _, err := os.Stat(c.Path); errors.Is(err, fs.ErrNotExist) {
			c.Path = staged // hosts have it from there
		}
	}
	st, err := os.Stat(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		c.Missing = true
		return c
	}
	if err != nil {
		c.Err = reason(err)
		return c
	}
	if c.Mode = st.Mode(); !c.Mode.IsRegular() {
		return c
	}
	if c.SHA256, err = hashOf(c.Path); err != nil {
		c.Err = reason(err)
		return c
	}
	c.Platform, c.Comet = linked(c.Path)
	if c.Mode.Perm()&0o111 == 0 || c.Platform != "" && c.Platform != f.Program.Platform {
		return c // it is known that it does not run
	}
	home, err := os.MkdirTemp("", "pressenter-doctor-")
	if err != nil {
		c.RunErr = reason(err)
		return c
	}
	defer func() { _ = os.RemoveAll(home) }()
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	if _, err := (daemon.Command{Binary: c.Path, Home: home}).Run(ctx, "version"); err != nil {
		c.RunErr = err.Error()
	}
	return c
}

// linked reads what a Go program was built for and with which CometBFT: what it says of itself has been seen to be wrong.
func linked(path string) (platform, comet string) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", "" // not a Go program
	}
	var system, arch string
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			system = s.Value
		case "GOARCH":
			arch = s.Value
		}
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/cometbft/cometbft" {
			comet = d.Version
			if d.Replace != nil {
				comet = d.Replace.Version
			}
		}
	}
	if system == "" || arch == "" {
		return "", comet
	}
	return system + "/" + arch, comet
}

func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// reason is an error without the path, which is said beside it.
func reason(err error) string {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// placeOf measures the folder, or the nearest one above that is there.
func placeOf(d deployment.Dir) Place {
	p := Place{Path: string(d), Socket: len(filepath.Join(d.World().Hosts(), "validator", api.SocketName)), ShortPaths: shortPaths()}
	for {
		st, err := os.Stat(p.Path)
		if err == nil && !st.IsDir() {
			p.Err = "it is not a folder"
			return p
		}
		if err == nil {
			break
		}
		up := filepath.Dir(p.Path)
		if !errors.Is(err, fs.ErrNotExist) || up == p.Path {
			p.Err = reason(err)
			return p
		}
		p.Path = up
	}
	p.Exists = p.Path == string(d)
	p.Wrote, p.WriteErr = tryWrite(p.Path)
	var st unix.Statfs_t
	if err := unix.Statfs(p.Path, &st); err != nil {
		p.Err = err.Error()
		return p
	}
	block := blockSize(&st)
	p.Free, p.Size = uint64(st.Bavail)*block, uint64(st.Blocks)*block
	p.FreeFiles, p.MaxFiles = uint64(st.Ffree), uint64(st.Files)
	p.System, p.Network = fileSystemOf(&st)
	return p
}

// tryWrite makes a file, brings it to the disk and removes it.
func tryWrite(dir string) (took time.Duration, failed string) {
	start := time.Now()
	f, err := os.CreateTemp(dir, ".pressenter-doctor-*")
	if err != nil {
		return 0, reason(err)
	}
	_, err = f.Write(make([]byte, 4096))
	err = errors.Join(err, f.Sync(), f.Close())
	took = time.Since(start)
	err = errors.Join(err, os.Remove(f.Name()))
	if err != nil {
		return took, reason(err)
	}
	return took, ""
}

// filesOf: a Go program, as daemons are, raises its limit to the hard one by itself.
func filesOf() Files {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return Files{Err: fmt.Sprint(err)}
	}
	return Files{Limit: uint64(l.Max)}
}
