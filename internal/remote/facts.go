package remote

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/internal/takeover"
)

//go:embed facts.sh
var factsScript string

// facts are what a server tells of itself before anything is brought there.
type facts struct {
	system              string // uname -sm
	id, version, pretty string // of the distribution
	systemd             int    // its version; 0 if it does not run
	memory, disk        uint64 // bytes; disk: what is free where hosts lie
	cpus                int
	ahead               time.Duration // how far its clock is before ours, as far as the way there lets us tell
	unsure              time.Duration // how far off that may be
	nft, apt            bool
	ours                bool            // it was set up before
	owner               string          // the deployment that it is enrolled in
	takeover            *takeover.State // of a takeover that was begun there
	listens             []socket        // at other than loopback addresses
	daemons             []string        // programs that look like a chain's
}

// socket is a port that a program has.
type socket struct {
	protocol string
	port     uint16
	program  string
}

// look asks a server for its facts, as root.
func look(ctx context.Context, c *ssh.Client) (facts, error) {
	var out bytes.Buffer
	before := time.Now()
	// As root: others do not see whose ports those of others are.
	if err := c.Run(ctx, ssh.Command{Args: []string{"/bin/sh", "-c", factsScript}, Stdout: &out, Sudo: true}); err != nil {
		return facts{}, fmt.Errorf("look at the server: %w", err)
	}
	f, now := parseFacts(out.String())
	if !now.IsZero() {
		// The script reads the clock first; when in between, the way there does not say.
		took := time.Since(before)
		f.unsure = took/2 + time.Second
		f.ahead = now.Sub(before.Add(took / 2)).Round(time.Second)
	}
	return f, nil
}

// parseFacts reads lines of key=value. What is missing or odd is as if it were not known.
func parseFacts(said string) (f facts, now time.Time) {
	number := func(s string) uint64 { n, _ := strconv.ParseUint(s, 10, 64); return n }
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = health.Plain(value)
		switch key {
		case "now":
			if n := number(value); n != 0 {
				now = time.Unix(int64(n), 0)
			}
		case "system":
			f.system = value
		case "id":
			f.id = value
		case "version":
			f.version = value
		case "pretty":
			f.pretty = value
		case "systemd":
			f.systemd = int(number(value))
		case "memory_kb":
			f.memory = number(value) << 10
		case "disk_kb":
			f.disk = number(value) << 10
		case "cpus":
			f.cpus = int(number(value))
		case "nft":
			f.nft = true
		case "apt":
			f.apt = true
		case "ours":
			f.ours = true
		case "owner":
			var h struct {
				Enrollment struct {
					Deployment string `json:"deployment"`
					Name       string `json:"name"`
				} `json:"enrollment"`
			}
			if json.Unmarshal([]byte(value), &h) == nil {
				f.owner = h.Enrollment.Deployment
			}
		case "taken": // one that cannot be understood is somebody's, too
			f.takeover = &takeover.State{}
			_ = json.Unmarshal([]byte(value), f.takeover)
		case "listen":
			if s, ok := parseSocket(value); ok {
				f.listens = append(f.listens, s)
			}
		case "daemon":
			f.daemons = append(f.daemons, value)
		}
	}
	return f, now
}

// parseSocket reads "tcp 0.0.0.0:22 users:(("sshd",pid=1,fd=3))" of ss.
func parseSocket(line string) (socket, bool) {
	f := strings.Fields(line)
	if len(f) < 2 {
		return socket{}, false
	}
	i := strings.LastIndex(f[1], ":")
	if i < 0 {
		return socket{}, false
	}
	host, _, _ := strings.Cut(strings.Trim(f[1][:i], "[]"), "%")
	port, err := strconv.ParseUint(f[1][i+1:], 10, 16)
	if err != nil || strings.HasPrefix(host, "127.") || host == "::1" {
		return socket{}, false
	}
	s := socket{protocol: f[0], port: uint16(port)}
	if len(f) > 2 {
		if _, after, ok := strings.Cut(f[2], `"`); ok {
			s.program, _, _ = strings.Cut(after, `"`)
		}
	}
	return s, true
}
