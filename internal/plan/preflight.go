package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/tofu"
)

// unfit refuses what the clouds say cannot be bought: half of a deployment costs money and is of no use.
func unfit(checks []provision.Check) error {
	var why, next []string
	for _, c := range checks {
		if c.OK || c.Unchecked {
			continue
		}
		why = append(why, CheckWords(c))
		if n := CheckNext(c); !slices.Contains(next, n) {
			next = append(next, n)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &Refusal{
		Why:  "nothing is bought, because not all of it can be had: " + strings.Join(why, "; "),
		Next: strings.Join(next, "; ") + ". --unasked buys without asking the clouds first",
	}
}

// CheckWords is what a cloud says of one thing, for people.
func CheckWords(c provision.Check) string {
	words := c.What
	if c.Name != "" {
		words += fmt.Sprintf(" %q", c.Name)
	}
	if c.Host != "" {
		words += " of " + c.Host
	}
	says := map[string]string{
		"name": "is taken", "region": "is not there", "size": "cannot be had in its region now", "image": "is not there",
		"quota": "is too small", "firewall": "would be too many", "account": "may not buy",
	}[c.What]
	switch {
	case c.Unchecked:
		says = "could not be looked at"
	case c.OK && c.What == "name":
		says = "is free"
	case c.OK:
		says = "is as it should be"
	case c.Why != "":
		says = "was refused: " + c.Why
	}
	return fmt.Sprintf("%s: %s %s", c.Cloud, words, says)
}

// CheckNext is what to do about what is not as it should be.
func CheckNext(c provision.Check) string {
	cloud, _ := tofu.Lookup(c.Cloud)
	switch c.What {
	case "account":
		variable := "the variables of its credentials"
		if len(cloud.Environment) > 0 {
			variable = cloud.Environment[0]
		}
		return fmt.Sprintf("check %s in the environment, and the account at %s; docs/clouds.md says what it has to allow", variable, c.Cloud)
	case "quota":
		return fmt.Sprintf("ask %s for a higher limit, or free something there", c.Cloud)
	case "firewall":
		return "write fewer or wider networks in admin.cidrs of the config: each is a rule for SSH, and one for pings of what is no sentry"
	case "name":
		return fmt.Sprintf("look at it in the console of %s: it may be what an earlier apply left, and costs money", c.Cloud)
	case "image":
		return "choose another region in the config: the images there are others"
	}
	return fmt.Sprintf("choose another region or size in the config: %s are usual at %s, in %s", strings.Join(sizes(cloud), " and "), c.Cloud, strings.Join(cloud.Regions, ", "))
}

func sizes(c tofu.Cloud) []string {
	out := []string{c.Sizes[tofu.RoleValidator], c.Sizes[tofu.RoleCosigner]}
	return slices.Compact(out)
}

// preflight notes what no cloud could be asked: what may be there already, and of machines that would be bought.
func (b *builder) preflight() {
	for _, words := range b.have.Doubts {
		b.note("it may be paid for, look in the cloud's console: %s; after that, --looked says that you did", words)
	}
	by := map[string][]string{}
	for _, c := range b.have.Checks {
		if c.Unchecked {
			by[c.Cloud] = append(by[c.Cloud], c.What)
		}
	}
	for cloud, what := range by {
		b.note("%s was asked before anything is bought there; not checked: %s", cloud, strings.Join(what, ", "))
	}
}
