package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/internal/takeover"
)

// supported are the releases that servers may run. Those of Ubuntu are not tested here.
var supported = map[string][]string{"debian": {"12", "13"}, "ubuntu": {"22.04", "24.04", "26.04"}}

// What a server needs at least, and what a real network's node is short with.
const (
	leastMemory = 400 << 20
	leastDisk   = 200 << 20
	smallMemory = 2 << 30
	smallDisk   = 20 << 30
	mostAhead   = 5 * time.Second
)

// preflight looks at a server before anything is changed there. What keeps it from being a host is an error with all
// that is wrong; what does not is told.
func (p *Provider) preflight(ctx context.Context, c *ssh.Client, h deployment.Host) error {
	f, err := look(ctx, c)
	if err != nil {
		return err
	}
	if err := errors.Join(p.refuse(f, h)...); err != nil {
		return err
	}
	p.tell(h.Name, f.weak(h))
	return nil
}

// tell passes findings on to who asked for them.
func (p *Provider) tell(host string, found []health.Finding) {
	if p.Found == nil || len(found) == 0 {
		return
	}
	for i := range found {
		if found[i].Subject == "" {
			found[i].Subject = host
		}
	}
	p.Found(host, found)
}

// refuse says why a server cannot be the host h of this deployment.
func (p *Provider) refuse(f facts, h deployment.Host) (why []error) {
	no := func(format string, args ...any) { why = append(why, fmt.Errorf(format, args...)) }
	if err := fits(p.Exe, f.system); err != nil {
		no("%w", err)
	}
	if releases, known := supported[f.id]; !known || !slices.Contains(releases, f.version) {
		name := f.pretty
		if name == "" {
			name = "something that does not say what it is"
		}
		no("it runs %s, and only Debian 12 and 13 and Ubuntu 22.04, 24.04 and 26.04 are supported: install one of these", name)
	} else if f.systemd == 0 {
		no("systemd does not run there, and nothing else is supported: it may be a container without an init")
	}
	if f.memory != 0 && f.memory < leastMemory && !f.ours {
		no("it has %d MiB of memory, and a host needs %d: use a larger server", f.memory>>20, leastMemory>>20)
	}
	if f.disk < leastDisk && !f.ours { // one that filled up since is told so by who writes
		no("its disk has %d MiB free at /var/lib, and a host needs %d to begin with: free some, or use a larger disk", f.disk>>20, leastDisk>>20)
	}
	if f.owner != "" && f.owner != p.Deployment {
		no("it is a host of the deployment %q already: take it out of that one first", f.owner)
	}
	if o := f.takeover; o != nil && (o.Phase != takeover.Done || o.Order.Deployment != p.Deployment || o.Order.Host != h.Name || h.Role != roster.RoleValidator) {
		no("%s is %s being taken over there for %q of the deployment %q: only that can go on with it, with 'pressenter adopt'", o.Order.Unit, o.Phase, o.Order.Host, o.Order.Deployment)
	}
	if !f.ours {
		for _, s := range f.taken(h) {
			no("port %d/%s is taken by %s: stop and disable that, or use another server", s.port, s.protocol, orSomething(s.program))
		}
		if len(f.daemons) > 0 {
			no("a chain's daemon or signer runs there already (%s): if it signs with the same key, two would sign; 'pressenter adopt %s' shows what it is; stop and disable it, or use another server", strings.Join(f.daemons, ", "), h.Name)
		}
	}
	if !f.nft && !f.apt {
		no("nft is not there, and there is no apt to install it: install nftables")
	}
	return why
}

// taken are the ports of the host that something else has.
func (f facts) taken(h deployment.Host) (taken []socket) {
	type port struct {
		protocol string
		number   uint16
	}
	var wanted []port
	if h.Role == roster.RoleSentry {
		wanted = []port{{"tcp", portOf(h.Listen.P2P)}, {"udp", portOf(h.Listen.Mesh)}, {"tcp", portOf(h.Listen.Relay)}}
	}
	for _, s := range f.listens {
		if slices.Contains(wanted, port{s.protocol, s.port}) && !slices.Contains(taken, s) {
			taken = append(taken, s)
		}
	}
	return taken
}

func orSomething(program string) string {
	if program == "" {
		return "another program"
	}
	return program
}

// weak says what a person should know of a server that can be a host.
func (f facts) weak(h deployment.Host) (found []health.Finding) {
	add := func(code, next, message string, args ...any) {
		found = append(found, health.Finding{Code: code, Severity: health.Warning, Subject: h.Name, Message: fmt.Sprintf(message, args...), Next: next})
	}
	if off := f.ahead.Abs(); off > mostAhead+f.unsure {
		way := "ahead of"
		if f.ahead < 0 {
			way = "behind"
		}
		add("clock-off", "Look at both clocks with 'timedatectl'. The set-up has something set the server's.", "The clock of the server is %s %s this computer's.", off, way)
	}
	if f.memory != 0 && f.memory < smallMemory {
		add("small-memory", "Enough for a practice network; use a larger server for a real one.", "The server has %d MiB of memory.", f.memory>>20)
	}
	if f.disk < smallDisk {
		add("small-disk", "Enough for a practice network; use a larger disk for a real one.", "The server has %d MiB of disk free.", f.disk>>20)
	}
	if f.cpus == 1 {
		add("one-processor", "Enough for a practice network.", "The server has one processor.")
	}
	if !f.ours {
		for _, s := range f.listens {
			if s.protocol == "tcp" && s.program != "sshd" && s.program != "systemd" {
				add("port-closes", "If it has to be reached from outside, use another server for it.",
					"%s listens on port %d there: the packet filter closes it to the world.", orSomething(s.program), s.port)
			}
		}
	}
	return found
}
