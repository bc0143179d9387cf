package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/health"
)

// How long and how often a package is asked for. A mirror that is away is no reason to wait for long: what a package is
// for is missing then, and the next set-up tries again.
const (
	aptTries   = 2
	aptTimeout = 5 * time.Minute
	nameWait   = 5 * time.Second
)

// errUnreachable is in the error of a package that cannot be had now.
var errUnreachable = errors.New("the package cannot be had")

// install installs a Debian package.
func install(ctx context.Context, name string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, aptTimeout)
	defer cancel()
	options := []string{
		"apt-get", "-q", "-y", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10",
		"-o", "DPkg::Lock::Timeout=120", "-o", "APT::Update::Error-Mode=any", // without it, update succeeds with old lists or none
	}
	for range aptTries {
		if _, err = output(ctx, append(options, "update")...); err == nil {
			if _, err = output(ctx, append(options, "--no-install-recommends", "install", name)...); err == nil {
				return nil
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("install %s: %w: %s (%w)", name, errUnreachable, whyUnreachable(ctx), err)
}

// whyUnreachable says which of the two it is: names, or the mirror.
func whyUnreachable(ctx context.Context) string {
	mirror := mirrorOf("/etc/apt")
	if mirror == "" {
		return "apt knows no mirror: look at /etc/apt/sources.list"
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), nameWait)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(ctx, mirror); err != nil {
		return fmt.Sprintf("names cannot be looked up: %s is not found (%v): look at /etc/resolv.conf and the name servers in there", mirror, err)
	}
	return fmt.Sprintf("the package mirror %s does not answer as it should: look at /etc/apt, or wait if it is down", mirror)
}

var mirrorRE = regexp.MustCompile(`https?://([^/\s:]+)`)

// mirrorOf is the first mirror that apt's sources name.
func mirrorOf(folder string) string {
	files := []string{filepath.Join(folder, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, _ := filepath.Glob(filepath.Join(folder, "sources.list.d", pattern)) // the pattern is right
		files = append(files, more...)
	}
	for _, file := range files {
		b, _ := os.ReadFile(file) // one that is not there names none
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			if m := mirrorRE.FindStringSubmatch(line); m != nil && !strings.HasPrefix(line, "#") {
				return m[1]
			}
		}
	}
	return ""
}

// missing is the finding of a package that cannot be had, and what is not there without it.
func missing(name, without string, err error) health.Finding {
	return health.Finding{
		Code: "package-missing", Severity: health.Warning, Subject: name, Message: fmt.Sprintf("%s: %v.", without, err),
		Next: "Mend the cause, then run 'pressenter harden', or install " + name + " yourself.",
	}
}
