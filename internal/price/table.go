package price

import "slices"

// table is what is known of one cloud. A price without a source is unknown.
type table struct {
	sizes    map[string]Price
	volumeGB Price // one gigabyte of the volumes that the module makes
	address  Price // one IPv4 address of those that the module makes
	regions  []string
	traffic  string
}

// covers reports whether the table is about that region. Some clouds have one price for all.
func (t table) covers(region string) bool {
	return len(t.regions) == 0 || slices.Contains(t.regions, region)
}

// Where prices were read.
const (
	// The list of 15 June 2026, for new servers in Germany and Finland, without taxes and without an IPv4 address. It was
	// read by way of public notes that quote it, several for each price. CCX was read from the API by the project of
	// ovhAPI below. Dates are those of the readings.
	hetznerList = "https://docs.hetzner.com/general/infrastructure-and-availability/price-adjustment/"
	hetznerAPI  = "https://api.hetzner.cloud/v1/pricing"
	// The change of 1 July 2022, quoted whole. Public notes since then agree; none of them has a date.
	digitalOceanList = "https://gist.github.com/colinwilson/cd31bde012f6727b24b2fc4ebee749c0"
	// As public notes of these dates read it.
	vultrAPI = "https://api.vultr.com/v2/plans"
	// A project that reads price APIs every month and publishes what they say, in euro.
	ovhAPI = "https://raw.githubusercontent.com/moveinfra/eu-cloud-prices/main/data/eu-cloud-prices.csv"
)

var tables = map[string]table{
	"hetzner": {
		sizes: map[string]Price{
			"cx23":  eur(5_490_000, hetznerList, "2026-09-27"),
			"cx33":  eur(8_490_000, hetznerList, "2026-09-27"),
			"cx43":  eur(15_990_000, hetznerList, "2026-09-27"),
			"cx53":  eur(29_490_000, hetznerList, "2026-09-27"),
			"cpx22": eur(19_490_000, hetznerList, "2026-06-17"),
			"cpx32": eur(35_490_000, hetznerList, "2026-06-17"),
			"ccx13": eur(42_990_000, hetznerAPI, "2026-10-28"),
			"ccx23": eur(85_990_000, hetznerAPI, "2026-10-28"),
			"ccx33": eur(138_490_000, hetznerAPI, "2026-10-28"),
		},
		// The rise of June 2026 left volumes and addresses as they were.
		volumeGB: eur(57_200, hetznerAPI, "2026-05-27"),
		address:  eur(500_000, hetznerList, "2026-09-27"),
		regions:  []string{"fsn1", "nbg1", "hel1"},
		traffic:  "20 TB out included for each server, then 1.00 EUR a TB (2026-05-27)",
	},
	"digitalocean": {
		sizes: map[string]Price{
			"s-1vcpu-1gb":  usd(6_000_000, digitalOceanList, "2022-07-01"),
			"s-1vcpu-2gb":  usd(12_000_000, digitalOceanList, "2022-07-01"),
			"s-2vcpu-2gb":  usd(18_000_000, digitalOceanList, "2022-07-01"),
			"s-2vcpu-4gb":  usd(24_000_000, digitalOceanList, "2022-07-01"),
			"s-4vcpu-8gb":  usd(48_000_000, digitalOceanList, "2022-07-01"),
			"s-8vcpu-16gb": usd(96_000_000, digitalOceanList, "2022-07-01"),
		},
		traffic: "some TB out included by size, pooled, then 0.01 USD a GiB (2025-05-07)",
	},
	"vultr": {
		sizes: map[string]Price{
			"vc2-1c-2gb": usd(10_000_000, vultrAPI, "2026-07-27"),
			"vc2-4c-8gb": usd(40_000_000, vultrAPI, "2026-05-25"),
		},
	},
	// OVHcloud's. Other OpenStacks have other sizes, or no prices.
	"openstack": {
		sizes: map[string]Price{
			"b3-8":  eur(37_380_000, ovhAPI, "2026-10-28"),
			"b3-16": eur(74_680_000, ovhAPI, "2026-10-28"),
			"b3-32": eur(149_360_000, ovhAPI, "2026-10-28"),
		},
	},
}

func eur(amount Micro, source, date string) Price {
	return Price{Money{"EUR", amount}, source, date}
}

func usd(amount Micro, source, date string) Price {
	return Price{Money{"USD", amount}, source, date}
}
