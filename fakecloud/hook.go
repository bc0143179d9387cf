package fakecloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Server is what the hook is asked to make: POST /servers.
type Server struct {
	Cloud    string   `json:"cloud"`
	Name     string   `json:"name"`
	Region   string   `json:"region"`
	Size     string   `json:"size"`
	Image    string   `json:"image"`
	SSHKeys  []string `json:"ssh_keys"`
	UserData string   `json:"user_data"`
	// Addresses were reserved for it before, by POST /addresses.
	Addresses []string `json:"addresses,omitempty"`
	// Fault is dead_ssh for a server that nobody can log in to.
	Fault string `json:"fault,omitempty"`
}

// Addresses is the answer to POST /servers.
type Addresses struct {
	IPv4    string `json:"ipv4"`
	IPv6    string `json:"ipv6"`
	Private string `json:"private_ipv4"`
}

// Rule is one thing a firewall lets in: PUT /firewalls/CLOUD/NAME has these and the names of the servers behind it.
type Rule struct {
	Direction string   `json:"direction"` // in or out
	Protocol  string   `json:"protocol"`  // tcp, udp, icmp
	Ports     string   `json:"ports"`     // 22 or 1-65535; empty is any
	Sources   []string `json:"sources"`   // networks; for what goes out, destinations
}

// Firewall is a cloud's firewall as the hook sees it.
type Firewall struct {
	Servers []string `json:"servers"`
	Rules   []Rule   `json:"rules"`
}

// hook speaks to whoever makes hosts of servers. The zero value speaks to nobody, and addresses are invented.
type hook struct{ client *http.Client }

var errNoHook = errors.New("the hook does not do that")

func newHook(socket string) hook {
	if socket == "" {
		return hook{}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return hook{&http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// call asks the hook; errNoHook where there is none or it does not know the path.
func (h hook) call(ctx context.Context, method, path string, in, out any) error {
	if h.client == nil {
		return errNoHook
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://hosts"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask who makes hosts: %w", err)
	}
	defer resp.Body.Close() // it was read
	raw, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read the answer of who makes hosts: %w", err)
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		return errNoHook
	case resp.StatusCode >= 300:
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(raw))
	case out == nil || len(raw) == 0:
		return nil
	}
	return json.Unmarshal(raw, out)
}

// optional is call for what a hook may leave out.
func (h hook) optional(ctx context.Context, method, path string, in, out any) error {
	if err := h.call(ctx, method, path, in, out); err != nil && !errors.Is(err, errNoHook) {
		return err
	}
	return nil
}

func (h hook) hold(ctx context.Context, cloud, op, typ, name string) error {
	return h.call(ctx, http.MethodPost, "/hold", map[string]string{"cloud": cloud, "op": op, "type": typ, "name": name}, nil)
}

// reserve asks for an address that will be a server's later; empty where the hook does not give any.
func (h hook) reserve(ctx context.Context, cloud, name, family string) (string, error) {
	var out struct {
		Address string `json:"address"`
	}
	in := map[string]string{"cloud": cloud, "name": name, "family": family}
	err := h.optional(ctx, http.MethodPost, "/addresses", in, &out)
	return out.Address, err
}

func hookPath(parts ...string) string {
	p := ""
	for _, part := range parts {
		p += "/" + url.PathEscape(part)
	}
	return p
}
