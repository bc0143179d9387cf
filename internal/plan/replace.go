package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// How a sentry is replaced.
type How int

// Ways of a replacement.
const (
	// Apply: one has begun, or there is nothing to replace yet; the plan of an apply is all that is left to do.
	Apply How = iota
	// InPlace: its machine stays, so it is removed and made anew there.
	InPlace
	// Beside: it gets another machine, which joins before the one that it has is given back.
	Beside
)

// Replace decides how the sentry of that name is replaced, where that may be.
func Replace(name string, c config.Deployment, own deployment.Inventory, have ObservedDeployment) (How, error) {
	i := slices.IndexFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == name })
	if i < 0 || c.Sentries[i].Invited() {
		return Apply, irreplaceable(name, c)
	}
	was, known := own.Host(name)
	o, m := have.Hosts[name], c.Sentries[i].Machine
	switch {
	case have.Fork:
		return Apply, &Refusal{Why: "the roster is forked", Next: "run 'pressenter apply', which heals it, then replace " + name}
	case !known || !was.Exists() || !o.Exists || have.Head == nil:
		return Apply, nil
	case replacing(own, name) && o.Away == "":
		return Apply, nil
	case goesElsewhere(c, m, was) || was.Bought():
		return Beside, nil
	case !member(have.Head, o):
		return Apply, nil
	case o.Away != "":
		return Apply, &Refusal{
			Why:  fmt.Sprintf("%s cannot be reached, and its server is not ours to buy anew: %s", name, o.Away),
			Next: fmt.Sprintf("give it another server: write its address in the config and run 'pressenter replace %s' again; or take %s out and apply", name, name),
		}
	}
	return InPlace, nil
}

// irreplaceable says why there is no sentry of that name to replace.
func irreplaceable(name string, c config.Deployment) error {
	switch {
	case name == config.ValidatorHost:
		return &Refusal{
			Why: "the validator holds the whole key, and two machines with it must never be: it is not replaced",
			Next: "where its host is lost for ever, run 'pressenter apply --replace-lost', then 'pressenter key restore' and 'pressenter key arm'; " +
				"moving one that lives to another machine is not in this version",
		}
	case slices.ContainsFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == name }):
		return &Refusal{
			Why:  fmt.Sprintf("%s enrolled itself: its host is somebody else's", name),
			Next: fmt.Sprintf("take it out of the config and apply, then put it back and run 'pressenter invite %s'", name),
		}
	}
	return &Refusal{Why: fmt.Sprintf("there is no sentry %q in the config", name), Next: "'pressenter status' shows the hosts"}
}

// replacing says whether the machine of a host was replaced and is not given back yet.
func replacing(own deployment.Inventory, name string) bool {
	return slices.ContainsFunc(own.Replaced, func(h deployment.Host) bool { return h.Name == name })
}

// member says whether a host is, as it is, in the roster. One that cannot be asked is what the roster says.
func member(head *roster.Roster, o ObservedHost) bool {
	m, is := head.Member(o.Host.Name)
	return is && (o.Status.Enrolled == nil || roster.Key(o.Status.Enrolled.Identity) == m.Identity)
}

// Successor is the host that takes the place of the machine that a host of that name is.
func Successor(name string, c config.Deployment, own deployment.Inventory, head *roster.Roster) (next deployment.Host, identity roster.Key) {
	was, _ := own.Host(name)
	next = deployment.Host{
		Name: name, Role: was.Role, Number: was.Number + 1, Provider: was.Provider, Folder: was.Folder, Region: was.Region, Size: was.Size,
	}
	for taken(next.Machine(), c, own) {
		next.Number++
	}
	if m, is := head.Member(name); is && !replacing(own, name) {
		identity = m.Identity
	}
	return next, identity
}

// taken says whether a machine, or a sentry, is called that.
func taken(machine string, c config.Deployment, own deployment.Inventory) bool {
	return slices.ContainsFunc(own.All(), func(h deployment.Host) bool { return h.Machine() == machine }) ||
		slices.ContainsFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == machine })
}

// Retire is what there is once another machine is to be a host.
func (o *ObservedDeployment) Retire(next deployment.Host, identity roster.Key) {
	was := o.Hosts[next.Name]
	was.Host.Identity = identity
	o.Replaced = append(slices.Clone(o.Replaced), was)
	o.Hosts[next.Name] = ObservedHost{Host: next}
}

// swap is a sentry in the roster whose place another one takes in this plan.
type swap struct {
	name string
	away bool // it cannot be reached, so that nobody may have it any more
}

// swaps are the sentries that the roster has and that leave it, for one of the same name that comes.
func swaps(want Want, have ObservedDeployment) []swap {
	var out []swap
	if have.Head == nil {
		return nil
	}
	for _, o := range have.Replaced {
		m, is := have.Head.Member(o.Host.Name)
		if is && m.Identity == o.Host.Identity {
			out = append(out, swap{o.Host.Name, o.Away != ""})
		}
	}
	if want.Replace != "" {
		out = append(out, swap{want.Replace, false})
	}
	return out
}

// alone says which sentry would leave the validator without any that is well, while another takes its place.
func alone(want Want, have ObservedDeployment) error {
	all := swaps(want, have)
	for _, h := range want.Own.Hosts {
		if o := have.Hosts[h.Name]; want.Replace != "" && o.Exists && !o.Agent {
			return &Refusal{
				Why:  fmt.Sprintf("the agent of %s does not run, and would not hear that %s is made anew", h.Name, want.Replace),
				Next: fmt.Sprintf("run 'pressenter apply' first, then 'pressenter replace %s'", want.Replace),
			}
		}
	}
	for _, s := range all {
		well := false
		for _, m := range have.Head.Members {
			leaves := slices.ContainsFunc(all, func(o swap) bool { return o.name == m.Name })
			well = well || m.Role == roster.RoleSentry && !leaves && have.Hosts[m.Name].well()
		}
		if !well && !s.away {
			return &Refusal{
				Why:  fmt.Sprintf("no other sentry is well: the validator would be cut off while %s is replaced", s.name),
				Next: "see 'pressenter status' for the others; if there is no other, add one to the config and apply first",
			}
		}
	}
	return nil
}

// well says whether a node runs and keeps up.
func (o ObservedHost) well() bool {
	n := o.Status.Node
	return o.Exists && o.Away == "" && o.Agent && !o.Status.Intent.Stopped && n.Answers && !n.CatchingUp
}

// lostAway says whether a member of the roster is a machine that was replaced because nobody reaches it.
func (o ObservedDeployment) lostAway(m roster.Member) bool {
	return slices.ContainsFunc(o.Replaced, func(r ObservedHost) bool { return r.Host.Identity == m.Identity && r.Away != "" })
}

// takeOut removes a sentry that is to be made anew where it is: first from the roster, then from its machine. Whoever finds
// only the first done goes on from there.
func (b *builder) takeOut(s *side) {
	name := b.want.Replace
	if name == "" || s.want.Deployment != b.want.Own.Deployment {
		return
	}
	next := roster.Next(s.have.Head)
	next.Remove(name)
	b.stage([]Step{TakeOut{On{s.want.Deployment, name}, next.Generation}})
	b.stage([]Step{DestroyHost{On{s.want.Deployment, name}, string(roster.RoleSentry)}})
	h, _ := s.want.Host(name)
	s.have.Head = next
	s.have.Hosts[name] = ObservedHost{Host: h}
}

// join ends the coming of a sentry in the place of another with the proof that the validator has it.
func (b *builder) join(s side) {
	var out []Step
	for _, name := range b.coming {
		out = append(out, AwaitJoined{On{s.want.Deployment, name}})
	}
	b.stage(out)
}

// comes are the sentries that take the place of another.
func comes(want Want, have ObservedDeployment) []string {
	var out []string
	for _, o := range have.Replaced {
		if _, wanted := want.Own.Host(o.Host.Name); wanted {
			out = append(out, o.Host.Name)
		}
	}
	if want.Replace != "" {
		out = append(out, want.Replace)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// discard removes machines whose place others have taken.
func (b *builder) discard(s side) {
	var out []Step
	for _, o := range s.have.Replaced {
		out = append(out, RemoveReplaced{On{s.want.Deployment, o.Host.Name}, o.Host.Machine(), cmp.Or(o.Host.Public, o.Host.Folder)})
	}
	slices.SortFunc(out, func(a, b Step) int { return cmp.Compare(a.String(), b.String()) })
	b.stage(out)
}
