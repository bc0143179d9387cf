package provision

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// comparison is what the journals and the clouds have beyond the state, by address.
type comparison struct {
	ledger  *ledger
	known   state
	missing map[string]string // ids to take in
	stale   []string          // addresses at which the state has what is there no more
	begun   map[string]bool
	odd     []string          // words about what does not fit
	held    map[string]string // of these, by the address that they are about
}

// compare holds the journals against the state.
func compare(l *ledger, known state) *comparison {
	c := &comparison{ledger: l, known: known, missing: map[string]string{}, begun: map[string]bool{}, held: map[string]string{}}
	for address, id := range l.made {
		switch have, there := known[address]; {
		case !there:
			c.missing[address] = id
		case sameID(have, id):
		case l.gone[address+" "+have]:
			c.missing[address] = id
			c.stale = append(c.stale, address)
		default:
			c.odd = append(c.odd, fmt.Sprintf("%s: the journal has %s, the state %s", address, id, have))
		}
	}
	for address, id := range known {
		if l.gone[address+" "+id] && l.made[address] == "" {
			c.stale = append(c.stale, address)
		}
	}
	maps.Copy(c.begun, l.begun)
	return c
}

// take adds what the clouds say. Swept are the types that they were asked for: of these nothing remains in doubt but what
// does not fit.
func (c *comparison) take(found []tofu.Found, swept map[string]bool) {
	there := map[string][]string{}
	for _, f := range found {
		address := f.Address()
		switch {
		case address == "":
			c.odd = append(c.odd, fmt.Sprintf("%s %s (%s) carries the deployment's id, and no host has such a thing", f.Type, f.ID, f.Name))
		case !f.Named(c.ledger.spec.Deployment, c.ledger.spec.ID) && !sameID(c.known[address], f.ID) && !sameID(c.missing[address], f.ID):
			c.hold(address, fmt.Sprintf("%s %s is labelled as that of %s and is called %q", f.Type, f.ID, f.Host, f.Name))
		default:
			there[address] = append(there[address], f.ID)
		}
	}
	for _, address := range slices.Sorted(maps.Keys(there)) {
		ids := there[address]
		slices.Sort(ids)
		delete(c.begun, address)
		mine := c.which(address, ids)
		for _, id := range ids {
			if mine != "" && !sameID(id, mine) {
				c.odd = append(c.odd, fmt.Sprintf("%s: %s is a second one, beside %s", address, id, mine))
			}
		}
	}
	for address := range c.begun {
		if swept[typeOf(address)] {
			delete(c.begun, address)
		}
	}
}

// which of the ids that a cloud lists is the one at an address; "" if only a person can say. What the state has is never given up
// for something that merely carries the same label: a list may be late, and a label is easily copied.
func (c *comparison) which(address string, ids []string) string {
	among := func(id string) bool {
		return id != "" && slices.ContainsFunc(ids, func(other string) bool { return sameID(id, other) })
	}
	have, journal := c.known[address], c.missing[address]
	// The journal does not tell the id of everything that was destroyed.
	stale := slices.Contains(c.stale, address) || c.ledger.gone[address+" "]
	switch {
	case among(have):
		delete(c.missing, address)
		c.stale = slices.DeleteFunc(c.stale, func(a string) bool { return a == address })
		return have
	case among(journal):
		return journal
	case have != "" && !stale:
		c.hold(address, fmt.Sprintf("%s: the state has %s, and its cloud lists %s by its label", address, have, strings.Join(ids, " and ")))
	case journal != "":
		c.hold(address, fmt.Sprintf("%s: the journal has %s, and its cloud lists %s by its label", address, journal, strings.Join(ids, " and ")))
	case len(ids) > 1 && c.ledger.wanted[hostOf(address)]:
		c.hold(address, fmt.Sprintf("%s: its cloud lists %s by its label, and only one can be it", address, strings.Join(ids, " and ")))
	default: // of those that nobody wants any more any is as good: the others come next
		c.missing[address] = ids[0]
		if have != "" && !slices.Contains(c.stale, address) {
			c.stale = append(c.stale, address)
		}
		return ids[0]
	}
	return ""
}

// hold leaves what is at an address to a person: the state stays as it is there, and no plan makes it.
func (c *comparison) hold(address, words string) {
	c.odd = append(c.odd, words)
	c.held[address] = words
	delete(c.missing, address)
	c.stale = slices.DeleteFunc(c.stale, func(a string) bool { return a == address })
}

// names are words about what nobody can tell.
func (c *comparison) names() []string {
	out := slices.AppendSeq(slices.Clone(c.odd), maps.Values(c.unseen()))
	slices.Sort(out)
	return out
}

// unseen are words about what was begun and cannot be asked for, by address.
func (c *comparison) unseen() map[string]string {
	out := map[string]string{}
	for address := range c.begun {
		if _, there := c.known[address]; there && !slices.Contains(c.stale, address) {
			continue // it was noted, with the error that it ended with
		}
		out[address] = fmt.Sprintf("%s: its making was begun and not seen to end, and the cloud cannot be asked for it; it would be called %s",
			address, c.ledger.nameOf(address))
	}
	return out
}

// holdUnseen keeps plans from buying again what may be there.
func (c *comparison) holdUnseen() {
	for address, words := range c.unseen() {
		if costs(typeOf(address)) && unlisted(address) {
			c.held[address] = words
		}
	}
}

// unlisted says that a cloud does not list what is at an address by its label.
func unlisted(address string) bool {
	cloud, _ := tofu.Lookup(cloudOf(address))
	return slices.Contains(cloud.Journalled, typeOf(address))
}

// nameOf is what to look for in the cloud's console.
func (l *ledger) nameOf(address string) string {
	return strings.TrimSuffix(tofu.ResourceName(l.spec.Deployment, l.spec.ID, hostOf(address)), "-")
}
