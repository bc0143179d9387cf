package meshrun

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// nftPaths is where nft(8) is looked for. A service's own PATH often lacks the folders of the system's tools.
const nftPaths = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"

// nftTimeout is more than a thousand members take on a slow host.
const nftTimeout = 10 * time.Second

// LoadRules gives the kernel packet filters as package access writes them, in one transaction: on an error it keeps
// those it has.
func LoadRules(ctx context.Context, text string) error { return loadRules(ctx, nftPaths, text) }

func loadRules(ctx context.Context, paths, text string) error {
	if _, err := runNFT(ctx, paths, text, "-f", "-"); err != nil {
		return fmt.Errorf("load the packet filter: %w", err)
	}
	return nil
}

// nftError says that nft(8) ran and refused.
type nftError struct {
	program, complaint string
	err                error
}

func (e *nftError) Error() string {
	return fmt.Sprintf("run %s: %v: %s", e.program, e.err, shorten(e.complaint))
}

func (e *nftError) Unwrap() error { return e.err }

// runNFT has nft(8) read text, and returns what it prints.
func runNFT(ctx context.Context, paths, text string, args ...string) (string, error) {
	nft, err := findIn(paths, "nft")
	if err != nil {
		return "", fmt.Errorf("%w: install the package nftables", err)
	}
	ctx, cancel := context.WithTimeout(ctx, nftTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, nft, args...)
	cmd.Env = []string{"PATH=" + paths, "LC_ALL=C"} // nothing of ours: it needs no secret
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(text)
	var said, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaint
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("run %s: %w: %s", nft, ctx.Err(), shorten(complaint.String())) // rather than that it was killed
	}
	if err != nil {
		return "", &nftError{program: nft, complaint: complaint.String(), err: err}
	}
	return said.String(), nil
}

// findIn returns the path of a program in one of the folders.
func findIn(paths, name string) (string, error) {
	for dir := range strings.SplitSeq(paths, ":") {
		if path, err := exec.LookPath(dir + "/" + name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s in %s", name, paths)
}

// shorten cuts what a program complained of: it may complain of each line.
func shorten(s string) string {
	const most = 1000
	if s = strings.TrimSpace(s); len(s) > most {
		s = s[:most] + " …"
	}
	return s
}
