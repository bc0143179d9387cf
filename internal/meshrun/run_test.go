package meshrun

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// lab is a deployment whose hosts' mesh processes run in this one, over loopback.
type lab struct {
	t         *testing.T
	admin     ed25519.PrivateKey
	head      *roster.Roster
	envelopes []roster.Envelope
	hosts     map[string]*labHost
}

type labHost struct {
	lab      *lab
	dir      string
	name     string
	identity roster.Key
	role     roster.Role
	keys     Keys
	spec     Spec
	stop     func()
}

// newLab makes a validator and two sentries of which s1 relays, all running. Each sentry serves an echo as its chain.
func newLab(t *testing.T) *lab {
	t.Helper()
	seed := sha256.Sum256([]byte(t.Name()))
	l := &lab{t: t, admin: ed25519.NewKeyFromSeed(seed[:]), hosts: map[string]*labHost{}}
	l.head = roster.New("lab", []roster.Admin{{
		Name: "op", Key: roster.KeyOf(l.admin.Public().(ed25519.PublicKey)), Capabilities: roster.AllCapabilities(),
	}}, roster.Chain{ID: "lab-1"})
	l.head.MeshDriver = roster.MeshWireGuard
	l.publish(l.head)
	next := roster.Next(l.head)
	for i, name := range []string{"validator", "s1", "s2"} {
		h := &labHost{lab: l, name: name, dir: t.TempDir(), identity: roster.Key{byte(i + 1)}, role: roster.RoleSentry, stop: func() {}}
		if name == "validator" {
			h.role = roster.RoleValidator
		}
		must(t, h.born())
		l.hosts[name] = h
		m := roster.Member{Name: name, Role: h.role, Identity: h.identity, Since: 2, Mesh: roster.Mesh{Key: h.keys.Tunnel, TLS: h.keys.TLS}}
		if h.role == roster.RoleSentry {
			m.Mesh.Endpoint, m.Mesh.Relay = h.spec.Listen, h.spec.Relay
		}
		next.Members = append(next.Members, m)
	}
	l.publish(next)
	for _, name := range []string{"validator", "s1", "s2"} {
		l.hosts[name].forwards()
		l.hosts[name].run()
	}
	return l
}

// born makes a host's keys and chooses its ports.
func (h *labHost) born() (err error) {
	if h.keys, err = BearKeys(h.dir, roster.MeshWireGuard); err != nil {
		return err
	}
	h.spec = Spec{
		Deployment: h.lab.head.Hash(), Identity: h.identity, Driver: roster.MeshWireGuard, Backend: "netstack", Listen: "127.0.0.1:0",
	}
	if h.role == roster.RoleSentry {
		h.spec.Listen, h.spec.Relay = freePort(h.lab.t), freePort(h.lab.t)
		h.spec.Serve = []Served{{Service: string(access.P2P), To: echo(h.lab.t, h.name)}}
	}
	return nil
}

// forwards gives the validator a port to each sentry.
func (h *labHost) forwards() {
	if h.role != roster.RoleValidator {
		return
	}
	for _, s := range []string{"s1", "s2"} {
		h.spec.Forwards = append(h.spec.Forwards, api.Forward{Peer: s, Service: string(access.P2P), Listen: freePort(h.lab.t)})
	}
}

// run starts the host's process and tells it the rosters.
func (h *labHost) run() {
	t := h.lab.t
	t.Helper()
	must(t, WriteSpec(h.dir, h.spec))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	p := &Process{Dir: h.dir, Version: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	go func() { done <- p.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", h.name, err)
		}
		h.stop = func() {}
	}
	t.Cleanup(func() { h.stop() })
	h.tell()
}

// tell gives the host's process every generation, as its agent does.
func (h *labHost) tell() {
	h.lab.t.Helper()
	req := api.PublishRequest{}
	for _, e := range h.lab.envelopes {
		req.Envelopes = append(req.Envelopes, roster.EncodeEnvelope(e))
	}
	h.lab.wait(h.name+" to answer", func() error {
		c := api.DialMesh(h.name, h.dir)
		defer c.Close()
		return c.TellMesh(h.lab.t.Context(), req)
	})
}

func (h *labHost) status() (api.MeshStatus, error) {
	c := api.DialMesh(h.name, h.dir)
	defer c.Close()
	return c.Mesh(h.lab.t.Context())
}

// publish signs a generation; hosts have to be told.
func (l *lab) publish(r *roster.Roster) {
	l.t.Helper()
	e, err := roster.Sign(r, l.admin)
	must(l.t, err)
	l.head, l.envelopes = r, append(l.envelopes, e)
}

// wait tries until it works. Nothing is measured by it.
func (l *lab) wait(what string, try func() error) {
	l.t.Helper()
	deadline := time.Now().Add(eventually)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("waited for %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// whole waits until every host reaches every other one.
func (l *lab) whole(names ...string) {
	l.t.Helper()
	for _, name := range names {
		l.wait(name+" to reach everybody", func() error {
			st, err := l.hosts[name].status()
			if err != nil {
				return err
			}
			if st.Generation != l.head.Generation || len(st.Peers) != len(names)-1 || !st.Learned {
				return fmt.Errorf("status %+v", st)
			}
			for _, p := range st.Peers {
				if p.Path != api.PathDirect {
					return fmt.Errorf("%s is %s: %s", p.Name, p.Path, p.Why)
				}
			}
			return nil
		})
	}
}

// reach waits until the chain of a sentry answers the validator through the mesh.
func (l *lab) reach(sentry string) net.Conn {
	l.t.Helper()
	var conn net.Conn
	l.wait("the chain of "+sentry, func() (err error) {
		i := slices.IndexFunc(l.hosts["validator"].spec.Forwards, func(f api.Forward) bool { return f.Peer == sentry })
		if conn, err = net.Dial("tcp", l.hosts["validator"].spec.Forwards[i].Listen); err != nil {
			return err
		}
		answer := make([]byte, len(sentry)+1)
		if _, err = conn.Write([]byte("?")); err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		if err == nil && string(answer) != sentry+"?" {
			err = fmt.Errorf("it answers %q", answer)
		}
		if err != nil {
			_ = conn.Close()
		}
		return err
	})
	l.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// echo answers each byte with a name before it.
func echo(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			go func() {
				defer conn.Close()
				b := make([]byte, 1)
				for _, err := conn.Read(b); err == nil; _, err = conn.Read(b) {
					_, _ = conn.Write(append([]byte(name), b...))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Three hosts find each other, their chains talk, and what one is told reaches all.
func TestMesh(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	l.reach("s1")
	onS2 := l.reach("s2")

	// The operator reaches s1 only. s2 is cut off everywhere, with what it had open.
	next := roster.Next(l.head)
	next.Remove("s2")
	l.publish(next)
	l.hosts["s1"].tell()
	l.whole("validator", "s1")
	l.wait("s2's open connection to end", func() error {
		_ = onS2.SetDeadline(time.Now().Add(time.Second))
		if _, err := onS2.Write([]byte("?")); err != nil {
			return nil
		}
		if _, err := onS2.Read(make([]byte, 8)); err != nil {
			return nil
		}
		return fmt.Errorf("it answers still")
	})
	l.reach("s1")
}

// A process that ends, however often, leaves nothing that its next one could not go on with; one at a time.
func TestMeshProcessComesBack(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	v := l.hosts["validator"]
	second := &Process{Dir: v.dir, Logger: slog.New(slog.DiscardHandler)}
	var held *process.Held
	if err := second.Run(t.Context()); !errors.As(err, &held) {
		t.Errorf("a second process: %v", err)
	}
	for _, name := range []string{"validator", "s1", "s2"} {
		l.hosts[name].stop()
		l.hosts[name].run()
		l.whole("validator", "s1", "s2")
	}
	l.reach("s2")
}

// The rosters that a process keeps are of one deployment, whatever its spec says later.
func TestMeshRefusesAnotherDeployment(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	v := l.hosts["validator"]
	v.stop()
	v.spec.Deployment = roster.Hash{9}
	must(t, WriteSpec(v.dir, v.spec))
	p := &Process{Dir: v.dir, Logger: slog.New(slog.DiscardHandler)}
	if err := p.Run(t.Context()); err == nil {
		t.Error("it carries the mesh of another deployment")
	}
}

// A tunnel key changes under open connections: announced, put into use, taken.
func TestMeshKeyChanges(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	l.reach("s1")
	s1 := l.hosts["s1"]
	keys, err := BearNext(s1.dir, roster.MeshWireGuard)
	must(t, err)
	again, err := BearNext(s1.dir, roster.MeshWireGuard)
	must(t, err)
	if keys.Next.IsZero() || keys.Tunnel != s1.keys.Tunnel || again != keys {
		t.Fatalf("keys %+v, %+v", keys, again)
	}
	set := func(m roster.Mesh) {
		next := roster.Next(l.head)
		for i := range next.Members {
			if next.Members[i].Name == "s1" {
				next.Members[i].Mesh.Key, next.Members[i].Mesh.Next = m.Key, m.Next
			}
		}
		l.publish(next)
		l.hosts["s2"].tell()
		l.whole("validator", "s1", "s2")
	}
	set(roster.Mesh{Key: keys.Tunnel, Next: keys.Next})
	set(roster.Mesh{Key: keys.Next, Next: keys.Tunnel})
	l.wait("s1 to use its next key", func() error {
		st, err := s1.status()
		if err == nil && st.Key != tunnel.Key(keys.Next).String() {
			err = fmt.Errorf("it uses %s", st.Key)
		}
		return err
	})
	if now, err := BearKeys(s1.dir, roster.MeshWireGuard); err != nil || now.Tunnel != keys.Next || !now.Next.IsZero() {
		t.Errorf("keys on disk: %+v, %v", now, err)
	}
	l.reach("s1")
	set(roster.Mesh{Key: keys.Next})
	l.reach("s1")
	s1.stop()
	s1.run()
	l.whole("validator", "s1", "s2")
	l.reach("s1")
}

// Forwards come and go while the process runs, and it ends with its host's folder.
func TestMeshFollowsItsSpec(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	v := l.hosts["validator"]
	v.spec.Forwards[0].Listen = freePort(t)
	must(t, WriteSpec(v.dir, v.spec))
	l.reach("s1")
	if _, err := ReadSpec(filepath.Join(v.dir, "nowhere")); err == nil {
		t.Error("a spec that is not there was read")
	}
}
