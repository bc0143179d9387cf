// Package price knows what machines cost in a month, as far as it has been read somewhere.
//
// A price is what the cloud lists, in the currency it bills in, without taxes, for a whole month. Each has a source and the
// date on which that source said so. What no source said is unknown, and a sum with an unknown part says so. Nothing
// is converted: a bill in two currencies is two sums. Traffic is not in any sum, only what is included and what more costs,
// in words.
//
// It is pure: the same question has the same answer, however old the table gets. [Price.Date] says how old.
package price

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Micro is a millionth of a currency's unit: prices of a gigabyte have four and more decimals.
type Micro int64

// Money is an amount in one currency.
type Money struct {
	Currency string // EUR or USD
	Amount   Micro
}

// String is the amount to the cent, rounded half up: 8.49 EUR.
func (m Money) String() string {
	sign, amount := "", m.Amount
	if amount < 0 {
		sign, amount = "-", -amount
	}
	cents := (amount + 5_000) / 10_000
	return fmt.Sprintf("%s%d.%02d %s", sign, cents/100, cents%100, m.Currency)
}

// Price is one line of the table.
type Price struct {
	Money
	Source string // where it was read
	Date   string // on which day the source said so, YYYY-MM-DD
}

// Machine is what is asked about: one host with what belongs to it.
type Machine struct {
	Cloud    string
	Size     string
	Region   string // where prices differ by region, those of another one are not known
	VolumeGB int    // 0 is none
	// Addresses is how many IPv4 addresses of their own the machine has, as the cloud's module makes them.
	Addresses int
}

// Cost is what a machine, or many, cost in a month. The zero value is nothing.
type Cost struct {
	// Sums has one amount for each currency, of what is known.
	Sums map[string]Micro
	// Unknown names what is not in Sums because no source said its price: "openstack: volume".
	Unknown []string
	// Oldest is the date of the oldest price in Sums; "" with none.
	Oldest string
}

// Known reports whether all of it is in the sums.
func (c Cost) Known() bool { return len(c.Unknown) == 0 }

// Money lists the sums in the order of their currencies.
func (c Cost) Money() []Money {
	var sums []Money
	for _, currency := range slices.Sorted(maps.Keys(c.Sums)) {
		sums = append(sums, Money{currency, c.Sums[currency]})
	}
	return sums
}

// String is for people: "16.98 EUR + 48.00 USD + unknown (exoscale: standard.large)".
func (c Cost) String() string {
	var parts []string
	for _, m := range c.Money() {
		parts = append(parts, m.String())
	}
	if !c.Known() {
		parts = append(parts, "unknown ("+strings.Join(c.Unknown, ", ")+")")
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, " + ")
}

// Monthly is what a machine costs.
func Monthly(m Machine) Cost {
	var c Cost
	t := tables[m.Cloud]
	size, known := t.sizes[m.Size]
	c.add(m.Cloud+": "+m.Size, size, known && t.covers(m.Region), 1)
	if m.VolumeGB > 0 {
		c.add(m.Cloud+": volume", t.volumeGB, t.volumeGB.Source != "" && t.covers(m.Region), Micro(m.VolumeGB))
	}
	if m.Addresses > 0 {
		c.add(m.Cloud+": address", t.address, t.address.Source != "" && t.covers(m.Region), Micro(m.Addresses))
	}
	return c
}

// Sum is what all of them cost together.
func Sum(costs ...Cost) Cost {
	var all Cost
	for _, c := range costs {
		for currency, amount := range c.Sums {
			all.put(currency, amount, c.Oldest)
		}
		for _, what := range c.Unknown {
			all.miss(what)
		}
	}
	return all
}

// Size returns the price of a machine of that size alone.
func Size(cloud, size string) (Price, bool) {
	p, ok := tables[cloud].sizes[size]
	return p, ok
}

// Sizes lists the sizes of a cloud whose prices are known, the cheapest first.
func Sizes(cloud string) []string {
	sizes := tables[cloud].sizes
	return slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		if sizes[a].Amount != sizes[b].Amount {
			return int(sizes[a].Amount - sizes[b].Amount)
		}
		return strings.Compare(a, b)
	})
}

// Traffic says in words what goes out for the machine's price and what more costs; "" is unknown.
func Traffic(cloud string) string { return tables[cloud].traffic }

func (c *Cost) add(what string, p Price, known bool, times Micro) {
	if !known {
		c.miss(what)
		return
	}
	c.put(p.Currency, p.Amount*times, p.Date)
}

func (c *Cost) put(currency string, amount Micro, date string) {
	if c.Sums == nil {
		c.Sums = map[string]Micro{}
	}
	c.Sums[currency] += amount
	if c.Oldest == "" || date < c.Oldest {
		c.Oldest = date
	}
}

func (c *Cost) miss(what string) {
	if !slices.Contains(c.Unknown, what) {
		c.Unknown = append(c.Unknown, what)
		slices.Sort(c.Unknown)
	}
}
