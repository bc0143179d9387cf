package price

import (
	"maps"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMonthly(t *testing.T) {
	for name, c := range map[string]struct {
		machine Machine
		want    string
		oldest  string
	}{
		"size":              {Machine{Cloud: "hetzner", Size: "cx33", Region: "fsn1"}, "8.49 EUR", "2026-09-27"},
		"volume, address":   {Machine{"hetzner", "cx33", "nbg1", 200, 1}, "20.43 EUR", "2026-05-27"},
		"in another region": {Machine{"hetzner", "cx33", "ash", 200, 1}, "unknown (hetzner: address, hetzner: cx33, hetzner: volume)", ""},
		"other currency":    {Machine{Cloud: "digitalocean", Size: "s-4vcpu-8gb", Region: "fra1"}, "48.00 USD", "2022-07-01"},
		"volume unknown":    {Machine{Cloud: "vultr", Size: "vc2-4c-8gb", VolumeGB: 10}, "40.00 USD + unknown (vultr: volume)", "2026-05-25"},
		"size unknown":      {Machine{Cloud: "exoscale", Size: "standard.large"}, "unknown (exoscale: standard.large)", ""},
		"cloud unknown":     {Machine{Cloud: "cumulus", Size: "s", VolumeGB: 1}, "unknown (cumulus: s, cumulus: volume)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Monthly(c.machine)
			if got.String() != c.want || got.Oldest != c.oldest {
				t.Errorf("%q of %q, want %q of %q", got, got.Oldest, c.want, c.oldest)
			}
			if got.Known() != (len(got.Unknown) == 0) {
				t.Errorf("%q is known: %v", got, got.Known())
			}
		})
	}
}

func TestSum(t *testing.T) {
	h := Machine{Cloud: "hetzner", Size: "cx33", Region: "fsn1"}
	e := Monthly(Machine{Cloud: "exoscale", Size: "standard.large"})
	all := Sum(Monthly(h), Monthly(h), Monthly(Machine{Cloud: "vultr", Size: "vc2-4c-8gb"}), e, e)
	if want := "16.98 EUR + 40.00 USD + unknown (exoscale: standard.large)"; all.String() != want {
		t.Errorf("%q, want %q", all, want)
	}
	if all.Known() || all.Oldest != "2026-05-25" {
		t.Errorf("known %v, oldest %s", all.Known(), all.Oldest)
	}
	if diff := cmp.Diff([]Money{{"EUR", 16_980_000}, {"USD", 40_000_000}}, all.Money()); diff != "" {
		t.Error(diff)
	}
	if none := Sum(); none.String() != "nothing" || !none.Known() {
		t.Errorf("a sum of nothing is %q", none)
	}
}

func TestMoney(t *testing.T) {
	for want, amount := range map[string]Micro{
		"0.00 EUR": 4_999, "0.01 EUR": 5_000, "1.00 EUR": 999_999, "-1.50 EUR": -1_500_000, "1234.56 EUR": 1_234_560_000,
	} {
		if got := (Money{"EUR", amount}).String(); got != want {
			t.Errorf("%d is %s, want %s", amount, got, want)
		}
	}
}

// Every price says where it is from and when, and is in one currency a cloud.
func TestTable(t *testing.T) {
	for cloud, table := range tables {
		prices := maps.Clone(table.sizes)
		if table.volumeGB.Source != "" {
			prices["a gigabyte"] = table.volumeGB
		}
		if table.address.Source != "" {
			prices["an address"] = table.address
		}
		currency := ""
		for what, p := range prices {
			if u, err := url.Parse(p.Source); err != nil || u.Scheme != "https" || u.Host == "" {
				t.Errorf("%s: the source of %s is %q", cloud, what, p.Source)
			}
			if _, err := time.Parse(time.DateOnly, p.Date); err != nil {
				t.Errorf("%s: %s: %v", cloud, what, err)
			}
			if p.Amount <= 0 || p.Currency == "" || currency != "" && p.Currency != currency {
				t.Errorf("%s: %s costs %s", cloud, what, p.Money)
			}
			currency = p.Currency
		}
	}
}

func TestSizes(t *testing.T) {
	got := Sizes("openstack")
	if want := []string{"b3-8", "b3-16", "b3-32"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if p, ok := Size("openstack", "b3-8"); !ok || p.Money.String() != "37.38 EUR" {
		t.Errorf("b3-8: %v, %v", p, ok)
	}
	if _, ok := Size("openstack", "d2-4"); ok {
		t.Error("d2-4 has a price that nobody read")
	}
	if Sizes("cumulus") != nil || Traffic("cumulus") != "" || Traffic("hetzner") == "" {
		t.Error("a cloud that is not there has prices, or hetzner has no traffic")
	}
}
