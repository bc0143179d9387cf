package fakecloud

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hosts is a hook that writes down what it is told.
type hosts struct {
	socket        string
	held, release chan struct{}

	mu    sync.Mutex
	calls []string
}

func newHosts(t *testing.T) *hosts {
	t.Helper()
	dir, err := os.MkdirTemp("", "hosts") // a socket's path is short: t.TempDir is too long for some names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &hosts{socket: filepath.Join(dir, "s"), held: make(chan struct{}), release: make(chan struct{})}
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /servers", h.note(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(Addresses{IPv4: "10.1.1.7", IPv6: "fd00::7", Private: "10.2.2.7"})
	}))
	mux.HandleFunc("POST /servers/{cloud}/{name}/reboot", h.note(nil))
	mux.HandleFunc("DELETE /servers/{cloud}/{name}", h.note(nil))
	mux.HandleFunc("PUT /firewalls/{cloud}/{name}", h.note(nil))
	mux.HandleFunc("POST /addresses", h.note(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"address": "10.1.1.50"})
	}))
	mux.HandleFunc("PUT /addresses/{cloud}/{address}", h.note(nil))
	mux.HandleFunc("DELETE /addresses/{cloud}/{address}", h.note(nil))
	mux.HandleFunc("POST /hold", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case h.held <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		select {
		case <-h.release:
		case <-r.Context().Done():
		}
	})
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	srv.Start()
	t.Cleanup(srv.Close)
	return h
}

func (h *hosts) note(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		h.mu.Lock()
		h.calls = append(h.calls, r.Method+" "+r.URL.Path+" "+string(body))
		h.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}
}

// told answers the calls since the last time, those that begin so.
func (h *hosts) told(prefix string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, c := range h.calls {
		if strings.HasPrefix(c, prefix) {
			out = append(out, c)
		}
	}
	h.calls = slices.DeleteFunc(h.calls, func(c string) bool { return slices.Contains(out, c) })
	return out
}

func (h *hosts) want(t *testing.T, prefix string, words ...string) {
	t.Helper()
	got := h.told(prefix)
	if len(got) != 1 {
		t.Fatalf("%q was told as %q, want once", prefix, got)
	}
	for _, w := range words {
		if !strings.Contains(got[0], w) {
			t.Errorf("%q does not say %q", got[0], w)
		}
	}
}

// A server's life as the hook sees it.
func TestHookMakesHosts(t *testing.T) {
	h := newHosts(t)
	x := newTrial(t, hetzner)
	x.p.hook = newHook(h.socket)
	x.made("hcloud_ssh_key", object{"name": "me", "public_key": testKey})
	fw := x.made("hcloud_firewall", object{"name": "f", "rule": []any{
		object{"direction": "in", "protocol": "tcp", "port": "22", "source_ips": []any{"198.51.100.0/24"}},
	}})
	h.want(t, "PUT /firewalls/hetzner/f", `"servers":[]`, `"ports":"22"`, "198.51.100.0/24")
	ip := x.made("hcloud_primary_ip", object{"name": "ip", "type": "ipv4", "location": "fsn1"})
	h.want(t, "POST /addresses", `"family":"ipv4"`)
	h.want(t, "PUT /addresses/hetzner/10.1.1.50", `"server":""`)
	if ip["ip_address"] != "10.1.1.50" {
		t.Errorf("the reserved address is %v, not what the hook gave", ip["ip_address"])
	}
	s1 := x.made("hcloud_server", object{
		"name": "s1", "server_type": "cx23", "image": "debian-12", "location": "fsn1", "ssh_keys": []any{"me"}, "user_data": "#cloud-config",
		"firewall_ids": []any{number(fw["id"])}, "public_net": []any{object{"ipv4": number(ip["id"]), "ipv4_enabled": true}},
		"ipv4_address": unknown, "ipv6_address": unknown,
	})
	h.want(t, "POST /servers", `"name":"s1"`, `"region":"fsn1"`, `"size":"cx23"`, `"image":"debian-12"`, "ssh-ed25519 AAAA", "#cloud-config", `"addresses":["10.1.1.50"]`)
	h.want(t, "PUT /firewalls/hetzner/f", `"servers":["s1"]`)
	h.want(t, "PUT /addresses/hetzner/10.1.1.50", `"server":"s1"`)
	if s1["ipv6_address"] != "fd00::7" {
		t.Errorf("the server has the address %v, not its host's", s1["ipv6_address"])
	}
	if err := x.update("hcloud_server", s1, object{"server_type": "cx33"}); err != nil {
		t.Fatal(err)
	}
	h.want(t, "POST /servers/hetzner/s1/reboot")
	if err := x.update("hcloud_server", with(s1, object{"server_type": "cx33"}), object{"server_type": "cx33", "labels": object{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	if got := h.told("POST /servers"); got != nil {
		t.Errorf("labels made the hook do %v", got)
	}
	if err := x.delete("hcloud_server", s1); err != nil {
		t.Fatal(err)
	}
	h.want(t, "DELETE /servers/hetzner/s1")
	h.want(t, "PUT /firewalls/hetzner/f", `"servers":[]`)
	if err := x.delete("hcloud_primary_ip", ip); err != nil {
		t.Fatal(err)
	}
	h.want(t, "DELETE /addresses/hetzner/10.1.1.50")
}

// Each cloud tells the hook of a server in the same words.
func TestHookOfEachCloud(t *testing.T) {
	template := text(exoscale.row("exoscale_template", "zone", "de-fra-1")["id"])
	for c, o := range map[*cloud]struct {
		typ string
		o   object
	}{
		digitalocean: {"digitalocean_droplet", object{"name": "s1", "region": "fra1", "size": "s-2vcpu-4gb", "image": "debian-12-x64", "ipv4_address": unknown}},
		vultr:        {"vultr_instance", object{"label": "s1", "region": "waw", "plan": "vc2-2c-4gb", "os_id": 2136.0, "os": unknown, "main_ip": unknown}},
		openstack:    {"openstack_compute_instance_v2", object{"name": "s1", "flavor_name": "b3-8", "image_name": "Debian 12", "access_ip_v4": unknown}},
		exoscale:     {"exoscale_compute_instance", object{"name": "s1", "zone": "de-fra-1", "type": "standard.medium", "template_id": template, "disk_size": 50.0, "public_ip_address": unknown}},
	} {
		h := newHosts(t)
		x := newTrial(t, c)
		x.p.hook = newHook(h.socket)
		made := x.made(o.typ, o.o)
		h.want(t, "POST /servers", `"cloud":"`+c.name+`"`, `"name":"s1"`)
		if got := text(made[x.p.rules(o.typ).server.ipv4]); got != "10.1.1.7" {
			t.Errorf("%s: the server's address is %q, not its host's", c.name, got)
		}
	}
}

func TestHookIsToldOfDeadSSH(t *testing.T) {
	h := newHosts(t)
	s := newSession(t, h.socket)
	s.faults(onCreate(FaultDeadSSH))
	s.made("hcloud_server", small)
	h.want(t, "POST /servers", `"fault":"dead_ssh"`)
}

// A hook that cannot make the host makes the create fail; the cloud has the server, as clouds do.
func TestHookFails(t *testing.T) {
	s := newSession(t, filepath.Join(t.TempDir(), "nobody"))
	if _, said := s.apply(t.Context(), "hcloud_server", nil, small); !strings.Contains(said, "make the host of s1") {
		t.Fatalf("without anybody at the socket: %q", said)
	}
	s.has(1)
}
