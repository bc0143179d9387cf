package roster

import (
	"crypto/sha256"
	"net/netip"
)

// The drivers of a mesh.
const (
	MeshWireGuard = "wireguard"
	MeshVpnCloud  = "vpncloud"
)

// Mesh is a member's place in the mesh. Its address there follows from its identity ([Roster.MeshAddress]), so that it
// keeps it when its key changes.
type Mesh struct {
	Key Key `json:"key,omitzero"` // X25519 public key of its tunnel; zero: not in the mesh
	// Next is another tunnel key with which it may shake hands: the one that it changes to or has just changed from. The
	// one that shook hands last is the one in use.
	Next Key `json:"next,omitzero"`
	// TLS is the Ed25519 key that it shows to relays, and shows as a relay.
	TLS Key `json:"tls,omitzero"`
	// Endpoint is where it listens, public UDP host:port; always empty for a validator, which dials out only.
	Endpoint string `json:"endpoint,omitempty"`
	// Relay is where it relays for members that reach nobody over UDP, public TCP host:port; empty: it does not.
	Relay string `json:"relay,omitempty"`
}

// inMesh reports whether the member can be in the mesh.
func (m Mesh) inMesh() bool { return !m.Key.IsZero() }

// overlaps reports whether two members cannot both have what is in m and o.
func (m Mesh) overlaps(o Mesh) bool {
	if m.Endpoint != "" && m.Endpoint == o.Endpoint || m.Relay != "" && m.Relay == o.Relay {
		return true
	}
	for _, k := range m.keys() {
		for _, l := range o.keys() {
			if k == l {
				return true
			}
		}
	}
	return false
}

// keys returns the keys that m has.
func (m Mesh) keys() []Key {
	var out []Key
	for _, k := range []Key{m.Key, m.Next, m.TLS} {
		if !k.IsZero() {
			out = append(out, k)
		}
	}
	return out
}

// meshKeys returns the mesh keys of all members.
func (r *Roster) meshKeys() []Key {
	var out []Key
	for _, m := range r.Members {
		out = append(out, m.Mesh.keys()...)
	}
	return out
}

// checkMesh finds what is wrong with a member's place in the mesh.
func (m Member) checkMesh(p *problems, driver string) {
	if m.Role == RoleDevice {
		// A device is its key: another key is another member. It has nothing else that could be told of it.
		if driver == "" || m.Mesh.Key != m.Identity || m.Mesh != (Mesh{Key: m.Mesh.Key}) || m.NodeID != "" || m.Endpoint != "" {
			p.addf("member %q is a device and is more than its mesh key", m.Name)
		}
		return
	}
	if m.Mesh == (Mesh{}) {
		return
	}
	if driver == "" || m.Role == RoleGenesisValidator {
		p.addf("member %q has a place in a mesh that there is not", m.Name)
	}
	if m.Mesh.Key.IsZero() || m.Mesh.TLS.IsZero() {
		p.addf("member %q has no mesh key or no relay key", m.Name)
	}
	if m.Role == RoleValidator && (m.Mesh.Endpoint != "" || m.Mesh.Relay != "") {
		p.addf("member %q is a validator and has a mesh endpoint", m.Name)
	}
	for _, s := range []string{m.Mesh.Endpoint, m.Mesh.Relay} {
		if s != "" && !isEndpoint(s) {
			p.addf("member %q: mesh endpoint %q is not host:port", m.Name, s)
		}
	}
}

// MeshNetwork returns a deployment's network inside the mesh, an IPv6 unique local /48 (RFC 4193) that follows from
// the deployment's id.
func MeshNetwork(deployment Hash) netip.Prefix {
	sum := sha256.Sum256(append([]byte("pressenter mesh network\x00"), deployment[:]...))
	a := [16]byte{0: 0xfd}
	copy(a[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// MeshAddress returns the address inside the mesh of the host with that identity. It follows from the identity alone, so
// it outlives keys, names and moves; that two of a thousand members meet has a chance of 10^-14.
func MeshAddress(deployment Hash, identity Key) netip.Addr {
	a := MeshNetwork(deployment).Addr().As16()
	sum := sha256.Sum256(append([]byte("pressenter mesh host\x00"), identity[:]...))
	copy(a[8:], sum[:])
	return netip.AddrFrom16(a)
}

// MeshAddress returns the address inside the mesh of the member with that identity.
func (r *Roster) MeshAddress(identity Key) netip.Addr { return MeshAddress(r.DeploymentID(), identity) }

// InMesh reports whether the member is in the deployment's mesh.
func (m Member) InMesh() bool { return m.Mesh.inMesh() }

// Hidden reports whether nobody may be told where the member is.
func (m Member) Hidden() bool { return m.Role == RoleValidator || m.Role == RoleDevice }
