package plan

import (
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
	r.Peers = slices.Sorted(slices.Values(peers))
	for _, m := range slices.Clone(r.Members) {
		h, wanted := want.Host(m.Name)
		e, known := enrolled[m.Name]
		replaced := known && roster.Key(e.Identity) != m.Identity
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
	assign(r, want, head, enrolled)
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

// put admits a host, or brings what may change of a member up to date.
func put(r *roster.Roster, h deployment.Host, e api.Enrolled) {
	i := slices.IndexFunc(r.Members, func(m roster.Member) bool { return m.Name == h.Name })
	if i < 0 {
		r.Members = append(r.Members, roster.Member{
			Name: h.Name, Role: h.Role, Identity: roster.Key(e.Identity), NodeID: e.NodeID, Endpoint: Endpoint(h), Since: r.Generation,
		})
		return
	}
	r.Members[i].NodeID, r.Members[i].Endpoint = e.NodeID, Endpoint(h)
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
		case len(e.Consensus) == ed25519.PublicKeySize:
			r.Signer = roster.Assignment{Holder: h.Name, PubKey: roster.Key(e.Consensus), Epoch: 1}
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

// forecast is the roster as far as it can be told before hosts are enrolled, to say which nodes will need a restart.
func forecast(want deployment.Inventory, chain roster.Chain, head *roster.Roster, enrolled map[string]api.Enrolled, peers []string) *roster.Roster {
	known := make(map[string]api.Enrolled, len(want.Hosts))
	for i, h := range want.Hosts {
		e, ok := enrolled[h.Name]
		if !ok {
			identity := make([]byte, ed25519.PublicKeySize)
			identity[0], identity[1] = 1, byte(i)
			e = api.Enrolled{Name: h.Name, Identity: identity, NodeID: unreadyNodeID}
		}
		known[h.Name] = e
	}
	if t := Target(want, chain, head, known, peers, make(ed25519.PublicKey, ed25519.PublicKeySize)); t != nil {
		return t
	}
	return head
}
