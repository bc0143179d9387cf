package plan

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// Target is the roster that a deployment should have: what follows head, or generation 1 where there is none.
// enrolled holds the public halves of every host of want; a host that is missing there has not been enrolled yet
// and enters without a node id, which keeps every node from starting. It returns nil when head is already right.
func Target(want deployment.Inventory, chain roster.Chain, head *roster.Roster, enrolled map[string]api.Enrolled, peers []string, admin ed25519.PublicKey) *roster.Roster {
	r := next(want, chain, head, admin)
	r.Chain = chain
	if head != nil {
		r.Chain.Binaries = head.Chain.Binaries
		if r.Chain.GenesisSHA256.IsZero() {
			r.Chain.GenesisSHA256 = head.Chain.GenesisSHA256
		}
	}
	r.MeshDriver = meshDriver(want, head)
	r.Peers = slices.Sorted(slices.Values(peers))
	for _, m := range slices.Clone(r.Members) {
		h, wanted := want.Host(m.Name)
		e, known := enrolled[m.Name]
		replaced := known && roster.Key(e.Identity) != m.Identity
		if m.Role == roster.RoleDevice {
			if !slices.Contains(want.Devices, deployment.Device{Name: m.Name, Key: m.Identity}) || r.MeshDriver == "" {
				r.Remove(m.Name)
			}
			continue
		}
		if invited, ok := want.InvitedHost(m.Name); ok && m.Role == roster.RoleSentry {
			keepInvited(r, head, m, invited)
			continue
		}
		if !wanted || h.Role != m.Role || replaced {
			r.Remove(m.Name)
		}
	}
	for _, h := range want.Hosts {
		e, known := enrolled[h.Name]
		if !known {
			continue
		}
		put(r, h, e)
	}
	for _, d := range want.Devices {
		if _, member := r.Member(d.Name); !member && r.MeshDriver != "" {
			r.Members = append(r.Members, roster.Member{
				Name: d.Name, Role: roster.RoleDevice, Identity: d.Key, Mesh: roster.Mesh{Key: d.Key}, Since: r.Generation,
			})
		}
	}
	assign(r, want, head, enrolled)
	restartInvited(r, head, want)
	if head != nil && same(head, r) {
		return nil
	}
	return r
}

func next(want deployment.Inventory, chain roster.Chain, head *roster.Roster, admin ed25519.PublicKey) *roster.Roster {
	if head != nil {
		return roster.Next(head)
	}
	return roster.New(want.Deployment, []roster.Admin{{
		Name: "operator", Key: roster.KeyOf(admin), Capabilities: roster.AllCapabilities(),
	}}, chain)
}

// meshDriver is the driver of the generation after head. From one driver to another there is a generation without a
// mesh, which everybody has acknowledged before the next: a host carries one mesh at a time, and its keys are of a kind.
func meshDriver(want deployment.Inventory, head *roster.Roster) string {
	if head != nil && head.MeshDriver != "" && head.MeshDriver != want.MeshDriver {
		return ""
	}
	return want.MeshDriver
}

// put admits a host, or brings what may change of a member up to date.
func put(r *roster.Roster, h deployment.Host, e api.Enrolled) {
	i := slices.IndexFunc(r.Members, func(m roster.Member) bool { return m.Name == h.Name })
	if i < 0 {
		i = len(r.Members)
		r.Members = append(r.Members, roster.Member{Name: h.Name, Role: h.Role, Identity: roster.Key(e.Identity), Since: r.Generation})
	}
	m := &r.Members[i]
	m.NodeID, m.Endpoint, m.PrivatePeers = e.NodeID, Endpoint(h), h.PrivatePeers
	if r.MeshDriver == "" || len(e.MeshKey) != len(roster.Key{}) || len(e.MeshTLS) != len(roster.Key{}) {
		m.Mesh = roster.Mesh{}
		return
	}
	m.Mesh.Key, m.Mesh.Next = rotated(m.Mesh, e)
	m.Mesh.TLS, m.Mesh.Endpoint, m.Mesh.Relay = roster.Key(e.MeshTLS), reached(h, h.Listen.Mesh), reached(h, h.Listen.Relay)
}

// rotated is a member's mesh key and the other one with which it may shake hands. A change takes three generations: the
// next key is announced beside the one in use; it is put into use beside the old one, so that the host still reaches
// others should it be the last to hear of it; and once the host uses it, the old one goes. Everybody acknowledges the
// first before the second is made.
func rotated(was roster.Mesh, e api.Enrolled) (key, other roster.Key) {
	uses := roster.Key(e.MeshKey)
	if was.Key.IsZero() {
		return uses, roster.Key{}
	}
	if len(e.NextMeshKey) != len(roster.Key{}) {
		switch uses {
		case was.Key:
			return was.Key, roster.Key{}
		case was.Next:
			return uses, was.Key
		default: // it lost its key and has another one
			return was.Key, uses
		}
	}
	switch next := roster.Key(e.NextMeshKey); next {
	case was.Key: // the host has not changed to it yet
		return was.Key, was.Next
	case was.Next:
		return next, was.Key
	default:
		return was.Key, next
	}
}

// assign names the holder of the consensus key where nobody holds it and the generation before already said so: a
// holder is never moved in one step, that is retire, acknowledge, assign. The key itself never changes here.
func assign(r *roster.Roster, want deployment.Inventory, head *roster.Roster, enrolled map[string]api.Enrolled) {
	if head == nil || head.Signer.Holder != "" || r.Signer.Holder != "" {
		return // generation 1 assigns nobody
	}
	for _, h := range want.Hosts {
		e, known := enrolled[h.Name]
		if !known || h.Role != roster.RoleValidator {
			continue
		}
		switch {
		case !r.Signer.PubKey.IsZero(): // the host may hold the key or get it back from a backup
			r.Signer.Holder, r.Signer.Epoch = h.Name, r.Signer.Epoch+1
			return
		case want.Adoption != nil && !bytes.Equal(e.Consensus, want.Adoption.PubKey): // not the one that was taken over
		case len(e.Consensus) == ed25519.PublicKeySize:
			r.Signer = roster.Assignment{Holder: h.Name, PubKey: roster.Key(e.Consensus), Epoch: r.Signer.Epoch + 1}
			return
		}
	}
}

// same compares all but what every new generation changes.
func same(head, r *roster.Roster) bool {
	a, b := head.Clone(), r.Clone()
	b.Generation, b.Parents, b.ID = a.Generation, a.Parents, a.ID
	return string(a.Bytes()) == string(b.Bytes())
}

// Restart is the generation after head that restarts one node for its configuration.
func Restart(head *roster.Roster, name string) *roster.Roster {
	r := roster.Next(head)
	for i, m := range r.Members {
		if m.Name == name {
			r.Members[i].Restart = r.Generation
		}
	}
	return r
}

// Unready is a peer's place in the settings until its node id is known.
const unreadyNodeID = "0000000000000000000000000000000000000000"

// maxGenerations bounds how many generations one change takes: admit, then assign.
const maxGenerations = 3

// forecast are the generations that publishing will take, as far as they can be told before hosts are enrolled; none
// when the head is right.
func forecast(s side, chain roster.Chain) []*roster.Roster {
	known, admin := s.foreseen(), make(ed25519.PublicKey, ed25519.PublicKeySize)
	var out []*roster.Roster
	for head := s.have.Head; len(out) < maxGenerations; {
		t := Target(s.want, chain, head, known, s.peers, admin)
		if t == nil {
			break
		}
		out = append(out, t)
		head = t
	}
	return out
}

// foreseen are the public halves of every wanted host: its own, or those of the member that it is, or a stand-in for
// what will be born.
func (s side) foreseen() map[string]api.Enrolled {
	known := s.have.enrolled()
	for i, h := range s.want.Hosts {
		if e, ok := known[h.Name]; ok {
			if s.want.MeshDriver != "" && len(e.MeshKey) == 0 { // enrolling it again bears them
				e.MeshKey, e.MeshTLS = standIn(2, i), standIn(3, i)
				known[h.Name] = e
			}
			continue
		}
		if s.have.Head != nil && s.have.Hosts[h.Name].Exists {
			if m, ok := s.have.Head.Member(h.Name); ok { // its record is lost, its keys may be there
				known[h.Name] = api.Enrolled{Name: h.Name, Identity: m.Identity.Public(), NodeID: m.NodeID, MeshKey: m.Mesh.Key.Public(), MeshTLS: m.Mesh.TLS.Public()}
				continue
			}
		}
		e := api.Enrolled{Name: h.Name, Identity: standIn(1, i), NodeID: unreadyNodeID, MeshKey: standIn(2, i), MeshTLS: standIn(3, i)}
		if h.Role != roster.RoleSentry {
			e.Consensus = standIn(1, i)
			if a := s.want.Adoption; a != nil {
				e.Consensus = a.PubKey
			}
		}
		known[h.Name] = e
	}
	return known
}

// standIn takes the place of a key that is not born yet.
func standIn(kind, host int) []byte {
	key := make([]byte, ed25519.PublicKeySize)
	key[0], key[1] = byte(kind), byte(host)
	return key
}
