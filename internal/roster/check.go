package roster

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the strings of a roster may look like. All are ASCII without quotes,
// spaces or slashes at their start, because they end in folder names, TOML
// files and terminals.
var (
	nameRE     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	chainRE    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	bech32RE   = regexp.MustCompile(`^[a-z0-9]{1,83}$`)
	denomRE    = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9/:._-]{1,127}$`)
	gasPriceRE = regexp.MustCompile(`^[0-9]{1,40}(\.[0-9]{1,18})?([a-zA-Z][a-zA-Z0-9/:._-]{1,127})$`)
	platformRE = regexp.MustCompile(`^[a-z0-9]{1,16}/[a-z0-9]{1,16}$`)
	hostRE     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
)

const (
	maxEndpoint  = 260 // a DNS name and a port
	maxGasPrice  = 1024
	maxProblems  = 20 // what one error tells of a hostile roster
	nodeIDLength = 40
)

// problems collects what is wrong with a roster, so that a person who wrote it
// learns all of it at once.
type problems struct{ errs []error }

func (p *problems) addf(format string, args ...any) {
	if len(p.errs) < maxProblems {
		p.errs = append(p.errs, fmt.Errorf(format, args...))
	}
}

func (p *problems) match(re *regexp.Regexp, what, s string) {
	if !re.MatchString(s) {
		p.addf("%s %q is not valid", what, s)
	}
}

// matchSet is match for what may be empty.
func (p *problems) matchSet(re *regexp.Regexp, what, s string) {
	if s != "" {
		p.match(re, what, s)
	}
}

func (p *problems) err() error { return errors.Join(p.errs...) }

// checkCounts finds lists that are too long.
func (r *Roster) checkCounts() error {
	private, capabilities := 0, 0
	for _, m := range r.Members {
		private += len(m.PrivatePeers)
	}
	for _, a := range r.Admins {
		capabilities = max(capabilities, len(a.Capabilities))
	}
	for _, l := range []struct {
		what   string
		n, max int
	}{
		{"parents", len(r.Parents), MaxHeads},
		{"admins", len(r.Admins), MaxAdmins},
		{"binaries", len(r.Chain.Binaries), MaxBinaries},
		{"members", len(r.Members), MaxMembers},
		{"tombstones", len(r.Tombstones), MaxTombstones},
		{"peers", len(r.Peers), MaxPeers},
		{"private peers", private, MaxPrivate},
		{"capabilities of one admin", capabilities, len(AllCapabilities())},
	} {
		if l.n > l.max {
			return fmt.Errorf("%d %s, more than %d", l.n, l.what, l.max)
		}
	}
	return nil
}

// Check finds everything that is wrong with r by itself; whether it may follow
// its parents is for [Log.Add].
func (r *Roster) Check() error {
	if err := r.checkCounts(); err != nil {
		return err
	}
	p := &problems{}
	if r.Format != FormatVersion {
		p.addf("format %d, want %d", r.Format, FormatVersion)
	}
	p.match(nameRE, "deployment name", r.Deployment)
	r.checkLineage(p)
	r.checkAdmins(p)
	r.Chain.check(p)
	if d := r.MeshDriver; d != "" && d != MeshWireGuard && d != MeshVpnCloud {
		p.addf("unknown mesh driver %q", d)
	}
	r.checkMembers(p)
	r.checkTombstones(p)
	r.checkSigner(p)
	r.checkPeers(p)
	return p.err()
}

func (r *Roster) checkLineage(p *problems) {
	if repeated(r.Parents, func(h Hash) Hash { return h }) {
		p.addf("a parent is named twice")
	}
	if slices.ContainsFunc(r.Parents, Hash.IsZero) {
		p.addf("a parent is zero")
	}
	switch first := r.Generation == 1; {
	case r.Generation == 0:
		p.addf("generation 0")
	case first && (len(r.Parents) > 0 || !r.ID.IsZero()):
		p.addf("generation 1 has a parent or a deployment id")
	case first && (r.Signer.Holder != "" || r.Signer.Epoch != 0 || len(r.Tombstones) > 0):
		p.addf("generation 1 has a signer or tombstones")
	case !first && (len(r.Parents) == 0 || r.ID.IsZero()):
		p.addf("generation %d has no parent or no deployment id", r.Generation)
	}
}

func (r *Roster) checkAdmins(p *problems) {
	granted := map[Capability]bool{}
	for _, a := range r.Admins {
		p.match(nameRE, "admin name", a.Name)
		if a.Key.IsZero() {
			p.addf("admin %q has no key", a.Name)
		}
		if _, ok := r.MemberByIdentity(a.Key); ok || r.Tombstoned(a.Key) {
			p.addf("key of admin %q is that of a host", a.Name)
		}
		if len(a.Capabilities) == 0 || repeated(a.Capabilities, func(c Capability) Capability { return c }) {
			p.addf("admin %q has no capability, or one twice", a.Name)
		}
		for _, c := range a.Capabilities {
			if !slices.Contains(AllCapabilities(), c) {
				p.addf("admin %q has unknown capability %q", a.Name, c)
			}
			granted[c] = true
		}
	}
	if repeated(r.Admins, func(a Admin) string { return a.Name }) || repeated(r.Admins, func(a Admin) Key { return a.Key }) {
		p.addf("an admin's name or key is there twice")
	}
	// Without these two the deployment could never change again.
	if !granted[CapRoster] || !granted[CapAdmin] {
		p.addf("no admin has capability %q, or none has %q", CapRoster, CapAdmin)
	}
}

func (c Chain) check(p *problems) {
	p.match(chainRE, "chain id", c.ID)
	p.matchSet(chainRE, "daemon", c.Daemon)
	p.matchSet(bech32RE, "bech32 prefix", c.Bech32Prefix)
	p.matchSet(denomRE, "denom", c.Denom)
	if c.MinGasPrice != "" {
		if len(c.MinGasPrice) > maxGasPrice {
			p.addf("minimum gas price is longer than %d", maxGasPrice)
		}
		for s := range strings.SplitSeq(c.MinGasPrice, ",") {
			p.match(gasPriceRE, "minimum gas price", s)
		}
	}
	for _, b := range c.Binaries {
		p.match(platformRE, "platform", b.Platform)
		if b.SHA256.IsZero() {
			p.addf("binary for %q has no digest", b.Platform)
		}
	}
	if repeated(c.Binaries, func(b Binary) string { return b.Platform }) {
		p.addf("a platform is there twice")
	}
	if c.BlockTime < 0 || c.BlockTime > time.Hour {
		p.addf("block time %v is not between 0 and 1h", c.BlockTime)
	}
}

func (r *Roster) checkMembers(p *problems) {
	set := func(s string) bool { return s != "" }
	for _, m := range r.Members {
		p.match(nameRE, "member name", m.Name)
		if !slices.Contains(Roles(), m.Role) {
			p.addf("member %q has unknown role %q", m.Name, m.Role)
		}
		if m.Identity.IsZero() {
			p.addf("member %q has no identity", m.Name)
		}
		if set(m.NodeID) && !isNodeID(m.NodeID) {
			p.addf("member %q: node id %q is not %d lower-case hex digits", m.Name, m.NodeID, nodeIDLength)
		}
		if set(m.Endpoint) && m.Role == RoleValidator {
			p.addf("member %q is a validator and has an endpoint", m.Name)
		}
		if set(m.Endpoint) && !isEndpoint(m.Endpoint) {
			p.addf("member %q: endpoint %q is not host:port", m.Name, m.Endpoint)
		}
		m.checkMesh(p, r.MeshDriver)
		if m.Since < 1 || m.Since > r.Generation || m.Restart > r.Generation {
			p.addf("member %q comes from a later generation", m.Name)
		}
	}
	unique := repeated(r.Members, func(m Member) string { return m.Name }) || repeated(r.Members, func(m Member) Key { return m.Identity })
	for _, field := range []func(Member) string{
		func(m Member) string { return m.NodeID },
		func(m Member) string { return m.Endpoint },
		func(m Member) string { return m.Mesh.Endpoint },
		func(m Member) string { return m.Mesh.Relay },
	} {
		values := slices.DeleteFunc(mapped(r.Members, field), func(s string) bool { return s == "" })
		unique = unique || repeated(values, func(s string) string { return s })
	}
	unique = unique || repeated(r.meshKeys(), func(k Key) Key { return k })
	if unique {
		p.addf("two members share a name, identity, node id, endpoint or mesh key")
	}
}

func (r *Roster) checkTombstones(p *problems) {
	identities, nodes := map[Key]bool{}, map[string]bool{}
	for _, t := range r.Tombstones {
		identities[t.Identity] = true
		if t.NodeID != "" {
			nodes[t.NodeID] = true
		}
		p.match(nameRE, "tombstone name", t.Name)
		if t.Identity.IsZero() || (t.NodeID != "" && !isNodeID(t.NodeID)) {
			p.addf("tombstone %q has no identity, or a node id that is none", t.Name)
		}
		if t.Since < 2 || t.Since > r.Generation {
			p.addf("tombstone %q comes from another generation", t.Name)
		}
	}
	if repeated(r.Tombstones, Tombstone.order) {
		p.addf("a tombstone is there twice")
	}
	for _, m := range r.Members {
		if identities[m.Identity] || nodes[m.NodeID] {
			p.addf("member %q was removed and cannot come back", m.Name)
		}
	}
	for _, s := range r.outside() {
		if id, _, _ := strings.Cut(s, "@"); nodes[id] {
			p.addf("peer %q was a member and was removed", s)
		}
	}
}

func (r *Roster) checkSigner(p *problems) {
	s := r.Signer
	if s.Holder == "" {
		return
	}
	if m, ok := r.Holder(); !ok || m.Role != RoleValidator {
		p.addf("holder %q is not a validator of the deployment", s.Holder)
	}
	if s.PubKey.IsZero() || s.Epoch == 0 {
		p.addf("holder %q has no key or no epoch", s.Holder)
	}
}

func (r *Roster) checkPeers(p *problems) {
	nodes := map[string]bool{}
	for _, m := range r.Members {
		nodes[m.NodeID] = true
	}
	for _, m := range r.Members {
		if len(m.PrivatePeers) > 0 && m.Role != RoleSentry {
			p.addf("member %q is no sentry and has private peers", m.Name)
		}
		checkPeerList(p, nodes, m.PrivatePeers)
	}
	checkPeerList(p, nodes, r.Peers)
}

// checkPeerList finds what is wrong with nodes outside the deployment; members are the node ids inside.
func checkPeerList(p *problems, members map[string]bool, peers []string) {
	for _, s := range peers {
		if !IsPeer(s) {
			p.addf("peer %q is not id@host:port", s)
		}
		if id, _, _ := strings.Cut(s, "@"); members[id] { // a hidden validator's address would come in this way
			p.addf("peer %q is a member", s)
		}
	}
	if repeated(peers, func(s string) string { return s }) {
		p.addf("a peer is there twice")
	}
}

// IsPeer reports whether s is a node of others as a roster names it, id@host:port.
func IsPeer(s string) bool {
	id, endpoint, _ := strings.Cut(s, "@")
	return isNodeID(id) && isEndpoint(endpoint)
}

func isNodeID(s string) bool { return len(s) == nodeIDLength && isHex(s) }

// isEndpoint reports whether s is host:port in the one spelling that the
// standard library would write.
func isEndpoint(s string) bool {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		a := ap.Addr()
		return ap.String() == s && ap.Port() != 0 && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast()
	}
	host, port, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	return ok && err == nil && n != 0 && strconv.FormatUint(n, 10) == port &&
		len(s) <= maxEndpoint && hostRE.MatchString(host) && !allNumeric(host)
}

// allNumeric reports whether a resolver could take host for an IPv4 address in
// one of its odd spellings, such as 127.1.
func allNumeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil
}

// repeated reports whether two elements of s have the same key.
func repeated[T any, K comparable](s []T, key func(T) K) bool {
	seen := make(map[K]bool, len(s))
	for _, v := range s {
		k := key(v)
		if seen[k] {
			return true
		}
		seen[k] = true
	}
	return false
}

func mapped[T, U any](s []T, f func(T) U) []U {
	out := make([]U, len(s))
	for i, v := range s {
		out[i] = f(v)
	}
	return out
}
