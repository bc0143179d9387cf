package tofu

import "slices"

// The roles a host can have.
const (
	RoleValidator = "validator"
	RoleSentry    = "sentry"
	RoleCosigner  = "cosigner"
)

// SSHUser is whom every module makes and lets in, on every cloud and image.
const SSHUser = "pressenter"

// Cloud is what has to be known of a cloud before asking it.
type Cloud struct {
	Name     string
	Provider Provider

	// Environment names the variables that the provider may see, and no others: credentials, and where they are for.
	Environment []string

	// Sizes is the default size of each role, in the cloud's own names.
	Sizes map[string]string

	// Regions are those to spread hosts over unless the config says otherwise, the first one first.
	Regions []string

	// Image is the default, as the module has it. Images are all that hosts may run, from the name of the release to the
	// cloud's own; a release that the cloud did not have at the date of the source is missing.
	Image  string
	Images map[string]string

	// Spreads and Protects say whether the cloud puts a group's hosts on different hardware, and whether it refuses to
	// delete a protected host.
	Spreads, Protects bool

	// Together is how many hosts the cloud takes into one group in one region, and Rules how many pairs of a port and a source
	// into one host's firewall; 0 is no limit that is known.
	Together, Rules int

	// Keeps says whose address outlives the machine. Included says that it is part of the machine's price all the same.
	Keeps    []string
	Included bool

	// Swept are the types that a sweep finds by the deployment's id; Journalled are those that the provider does not list
	// by label, so that only the journal of an apply knows them.
	Swept, Journalled []string

	// Unchecked is what a preflight cannot ask this provider.
	Unchecked []string

	// Verified says that the module was checked against the provider's real schema. One that was not spends money
	// on somebody's word, and wants a flag.
	Verified bool
}

// Provider is a provider's name within a configuration, its address in a registry, and its one version.
type Provider struct{ Local, Source, Version string }

// Clouds returns all clouds, those that are verified first.
func Clouds() []Cloud { return slices.Clone(clouds) }

// Lookup returns the cloud of that name.
func Lookup(name string) (Cloud, bool) {
	i := slices.IndexFunc(clouds, func(c Cloud) bool { return c.Name == name })
	if i < 0 {
		return Cloud{}, false
	}
	return clouds[i], true
}

// Verified reports whether the cloud's module was checked against its provider's real schema.
func Verified(cloud string) bool {
	c, ok := Lookup(cloud)
	return ok && c.Verified
}

// Addresses is how many IPv4 addresses a machine of that role has that are billed beside it.
func (c Cloud) Addresses(role string) int {
	if c.Included || !slices.Contains(c.Keeps, role) {
		return 0
	}
	return 1
}

var all = []string{RoleValidator, RoleSentry, RoleCosigner}

// Sizes are the smallest on which a node of a mid-sized network keeps up: 4 cores (2 of a kind that is not shared) and 8 GB,
// and 2 GB for a cosigner, which runs no node. Default sizes, regions, names of images and of variables are as of 2026-11-23;
// each entry says where they were read.
var clouds = []Cloud{
	{
		// Sizes and locations: examples in the provider's documentation at 1.68.0 (cx23), and
		// https://docs.hetzner.com/cloud/general/locations. The CX line is in Europe only. Variables: the provider's
		// source at 1.68.0. Images: the same examples, and names of Hetzner's system images.
		Name:        "hetzner",
		Provider:    Provider{"hcloud", "hetznercloud/hcloud", "1.68.0"},
		Environment: []string{"HCLOUD_TOKEN", "HCLOUD_ENDPOINT"},
		Sizes:       map[string]string{RoleValidator: "cx33", RoleSentry: "cx33", RoleCosigner: "cx23"},
		Regions:     []string{"fsn1", "nbg1", "hel1"},
		Image:       "debian-12",
		Images: map[string]string{
			"debian-12": "debian-12", "debian-13": "debian-13",
			"ubuntu-22.04": "ubuntu-22.04", "ubuntu-24.04": "ubuntu-24.04", "ubuntu-26.04": "ubuntu-26.04",
		},
		// Ten servers in a placement group, 500 effective rules in a firewall: https://docs.hetzner.com/cloud/placement-groups
		// and https://docs.hetzner.com/cloud/firewalls/faq.
		Spreads: true, Together: 10, Rules: 500, Protects: true, Keeps: all, Verified: true,
		Swept:     []string{"hcloud_server", "hcloud_volume", "hcloud_primary_ip", "hcloud_firewall", "hcloud_placement_group"},
		Unchecked: []string{"limits of the project", "prices of the account"},
	},
	{
		// Sizes: https://docs.digitalocean.com/products/droplets/concepts/choosing-a-plan. Variables: the provider's source
		// at 2.99.1. Images: examples there (ubuntu-24-04-x64) and in public configurations of 2026 (debian-13-x64).
		// Reserved addresses: three for an account by default, says
		// https://docs.digitalocean.com/products/networking/reserved-ips/details/limits, so only sentries have one.
		Name:        "digitalocean",
		Provider:    Provider{"digitalocean", "digitalocean/digitalocean", "2.99.1"},
		Environment: []string{"DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_API_URL"},
		Sizes:       map[string]string{RoleValidator: "s-4vcpu-8gb", RoleSentry: "s-4vcpu-8gb", RoleCosigner: "s-1vcpu-2gb"},
		Regions:     []string{"fra1", "ams3", "lon1"},
		Image:       "debian-12-x64",
		Images: map[string]string{
			"debian-12": "debian-12-x64", "debian-13": "debian-13-x64",
			"ubuntu-22.04": "ubuntu-22-04-x64", "ubuntu-24.04": "ubuntu-24-04-x64",
		},
		Keeps: []string{RoleSentry}, Verified: true,
		Swept:      []string{"digitalocean_droplet", "digitalocean_tag"},
		Journalled: []string{"digitalocean_volume", "digitalocean_firewall", "digitalocean_reserved_ip"},
		Unchecked:  []string{"limits of volumes, and reserved addresses of others", "prices of the account"},
	},
	{
		// Plans: documentation of the provider's data source vultr_plan (vc2-1c-2gb); vc2-4c-8gb and the number of
		// Debian 12 were read from the API on 2026-03-09 by a public project. Other numbers of images: public
		// configurations of 2026. Variables: the provider's source at 2.32.0.
		Name:        "vultr",
		Provider:    Provider{"vultr", "vultr/vultr", "2.32.0"},
		Environment: []string{"VULTR_API_KEY"},
		Sizes:       map[string]string{RoleValidator: "vc2-4c-8gb", RoleSentry: "vc2-4c-8gb", RoleCosigner: "vc2-1c-2gb"},
		Regions:     []string{"fra", "ams", "lhr"},
		Image:       "2136",
		Images: map[string]string{
			"debian-12": "2136", "debian-13": "2625",
			"ubuntu-22.04": "1743", "ubuntu-24.04": "2284", "ubuntu-26.04": "2760",
		},
		// 50 rules in a group: its max_rule_count, https://www.vultr.com/api.
		Keeps: []string{RoleSentry}, Rules: 50, Verified: true,
		Swept:      []string{"vultr_instance"},
		Journalled: []string{"vultr_block_storage", "vultr_firewall_group", "vultr_firewall_rule", "vultr_reserved_ip"},
		Unchecked:  []string{"limits of the account", "prices of the account"},
	},
	{
		// The defaults are OVHcloud's: flavors, regions and names of images differ in every OpenStack. Variables: the
		// provider's source at 3.4.0.
		Name:     "openstack",
		Provider: Provider{"openstack", "terraform-provider-openstack/openstack", "3.4.0"},
		Environment: []string{
			"OS_CLOUD", "OS_CLIENT_CONFIG_FILE", "OS_AUTH_URL", "OS_USERNAME", "OS_USER_ID", "OS_PASSWORD", "OS_TOKEN",
			"OS_AUTH_TOKEN", "OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME",
			"OS_APPLICATION_CREDENTIAL_SECRET", "OS_PROJECT_ID", "OS_PROJECT_NAME", "OS_TENANT_ID", "OS_TENANT_NAME",
			"OS_USER_DOMAIN_ID", "OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME", "OS_DOMAIN_ID",
			"OS_DOMAIN_NAME", "OS_DEFAULT_DOMAIN", "OS_SYSTEM_SCOPE", "OS_REGION_NAME", "OS_ENDPOINT_TYPE", "OS_CACERT",
			"OS_CERT", "OS_KEY", "OS_INSECURE",
		},
		Sizes:   map[string]string{RoleValidator: "b3-8", RoleSentry: "b3-8", RoleCosigner: "d2-4"},
		Regions: []string{"GRA11", "DE1", "WAW1"},
		Image:   "Debian 12",
		Images: map[string]string{
			"debian-12": "Debian 12", "debian-13": "Debian 13",
			"ubuntu-22.04": "Ubuntu 22.04", "ubuntu-24.04": "Ubuntu 24.04",
		},
		// An OVHcloud instance in the external network has its address for nothing. A floating one elsewhere has not.
		// Ten members of a server group is Nova's default quota, server_group_members.
		Spreads: true, Together: 10, Keeps: all, Included: true, Verified: true,
		Journalled: []string{
			"openstack_compute_instance_v2", "openstack_blockstorage_volume_v3", "openstack_networking_port_v2",
			"openstack_networking_floatingip_v2", "openstack_networking_secgroup_v2", "openstack_networking_secgroup_rule_v2",
			"openstack_networking_network_v2", "openstack_networking_subnet_v2", "openstack_networking_router_v2",
			"openstack_networking_router_interface_v2", "openstack_compute_servergroup_v2",
		},
		Unchecked: []string{"whether a name is taken", "quota (it is asked for by a project's id)", "prices"},
	},
	{
		// Zones and templates: the provider's source at 0.70.0, and public configurations of 2026. Sizes: the
		// provider's documentation. Variables: its source.
		Name:        "exoscale",
		Provider:    Provider{"exoscale", "exoscale/exoscale", "0.70.0"},
		Environment: []string{"EXOSCALE_API_KEY", "EXOSCALE_API_SECRET", "EXOSCALE_API_ENVIRONMENT", "EXOSCALE_API_ENDPOINT"},
		Sizes:       map[string]string{RoleValidator: "standard.large", RoleSentry: "standard.large", RoleCosigner: "standard.small"},
		Regions:     []string{"de-fra-1", "ch-gva-2", "at-vie-1"},
		Image:       "Linux Debian 12 (Bookworm) 64-bit",
		Images: map[string]string{
			"debian-12":    "Linux Debian 12 (Bookworm) 64-bit",
			"debian-13":    "Linux Debian 13 (Trixie) 64-bit",
			"ubuntu-22.04": "Linux Ubuntu 22.04 LTS 64-bit",
			"ubuntu-24.04": "Linux Ubuntu 24.04 LTS 64-bit",
		},
		// Eight instances in a group: https://community.exoscale.com/documentation/compute/anti-affinity-groups.
		Spreads: true, Together: 8, Protects: true, Verified: true,
		Swept: []string{"exoscale_compute_instance"},
		Journalled: []string{
			"exoscale_block_storage_volume", "exoscale_security_group", "exoscale_security_group_rule",
			"exoscale_anti_affinity_group",
		},
		Unchecked: []string{"sizes", "limits of the organisation", "prices of the account"},
	},
	{
		// Unverified: nobody compared the module with a schema, or planned it. A region's sizes are those of EC2.
		Name:     "aws",
		Provider: Provider{"aws", "hashicorp/aws", "6.0.0"},
		Environment: []string{
			"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
			"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE",
		},
		Sizes:   map[string]string{RoleValidator: "m7a.large", RoleSentry: "m7a.large", RoleCosigner: "t3.small"},
		Regions: []string{"eu-central-1", "eu-west-1", "eu-north-1"},
		// Seven instances of a spread placement group in a zone, says its user guide.
		Spreads: true, Together: 7, Protects: true, Keeps: all,
		Swept:     []string{"whatever has tags, in one region"},
		Unchecked: []string{"everything: there is no preflight for this cloud"},
	},
	{
		// Unverified, as aws.
		Name:     "gcp",
		Provider: Provider{"google", "hashicorp/google", "6.40.0"},
		Environment: []string{
			"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_PROJECT",
			"GOOGLE_CLOUD_PROJECT", "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT",
		},
		Sizes:   map[string]string{RoleValidator: "e2-standard-2", RoleSentry: "e2-standard-2", RoleCosigner: "e2-small"},
		Regions: []string{"europe-west3-b", "europe-west1-b", "europe-north1-a"},
		Image:   "debian-cloud/debian-12",
		Images:  map[string]string{"debian-12": "debian-cloud/debian-12", "debian-13": "debian-cloud/debian-13"},
		Spreads: true, Protects: true, Keeps: all,
		Journalled: []string{
			"google_compute_instance", "google_compute_disk", "google_compute_address", "google_compute_firewall",
			"google_compute_network", "google_compute_resource_policy",
		},
		Unchecked: []string{"everything: there is no preflight for this cloud"},
	},
}
