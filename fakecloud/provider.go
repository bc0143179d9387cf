// Package fakecloud is a provider for OpenTofu and Terraform that serves the schemas of real clouds and keeps their
// objects in a file: fills what clouds fill, refuses what they refuse, breaks as it is told, and writes down every call.
// Its servers are hosts of whoever listens on a socket, or have invented addresses.
package fakecloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// provider serves one cloud to one run of tofu.
type provider struct {
	tfprotov6.ProviderServer // what no cloud here has: functions, ephemeral resources, moves between types

	cloud   *cloud
	schema  *schemaFile
	store   store
	hook    hook
	stopped context.Context // StopProvider ends what other calls wait for
	stop    context.CancelFunc
}

// Settings is what the environment says, or fakecloud.json beside the program where the environment says nothing: tools
// that start tofu give it a bare environment.
type Settings struct {
	Dir     string `json:"dir"`     // FAKECLOUD_DIR: the folder of the world
	Schemas string `json:"schemas"` // FAKECLOUD_SCHEMAS: the folder of the schemas
	Hosts   string `json:"hosts"`   // FAKECLOUD_HOSTS: the socket of who makes hosts
}

// Serve is the program terraform-provider-NAME: which cloud it is, its name tells.
func Serve() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(os.Args[0]), "terraform-provider-"), "_")
	for _, c := range clouds {
		if c.provider != name {
			continue
		}
		p, err := newProvider(c, settings(filepath.Dir(self)))
		if err != nil {
			return err
		}
		go outlive(os.Getppid())
		address := "registry.terraform.io/" + c.namespace + "/" + c.provider
		return tf6server.Serve(address, func() tfprotov6.ProviderServer { return p })
	}
	return fmt.Errorf("the program is called %s: it must be called terraform-provider- and the name of a cloud's provider", filepath.Base(os.Args[0]))
}

func settings(beside string) Settings {
	var s Settings
	if raw, err := os.ReadFile(filepath.Join(beside, "fakecloud.json")); err == nil {
		_ = json.Unmarshal(raw, &s) // Mirror wrote it
	}
	for name, field := range map[string]*string{
		"FAKECLOUD_DIR": &s.Dir, "FAKECLOUD_SCHEMAS": &s.Schemas, "FAKECLOUD_HOSTS": &s.Hosts,
	} {
		if v := os.Getenv(name); v != "" {
			*field = v
		}
	}
	return s
}

func newProvider(c *cloud, s Settings) (*provider, error) {
	schema, err := loadSchema(s.Schemas, c.provider)
	if err != nil {
		return nil, err
	}
	if s.Dir == "" {
		return nil, errors.New("FAKECLOUD_DIR is not set: name the folder where the cloud is kept")
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cloud's folder: %w", err)
	}
	stopped, stop := context.WithCancel(context.Background())
	return &provider{cloud: c, schema: schema, store: store{s.Dir}, hook: newHook(s.Hosts), stopped: stopped, stop: stop}, nil
}

// rules are a resource type's; a type without any has the zero value.
func (p *provider) rules(typ string) *resource {
	if r := p.cloud.resources[typ]; r != nil {
		return r
	}
	return &resource{}
}

// until is a context that also ends when tofu asks the provider to stop.
func (p *provider) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	off := context.AfterFunc(p.stopped, cancel)
	return ctx, func() { off(); cancel() }
}

func (p *provider) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	out := &tfprotov6.GetMetadataResponse{}
	for name := range p.schema.Resources {
		out.Resources = append(out.Resources, tfprotov6.ResourceMetadata{TypeName: name})
	}
	for name := range p.schema.Data {
		out.DataSources = append(out.DataSources, tfprotov6.DataSourceMetadata{TypeName: name})
	}
	return out, nil
}

func (p *provider) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	out := &tfprotov6.GetProviderSchemaResponse{
		ResourceSchemas: map[string]*tfprotov6.Schema{}, DataSourceSchemas: map[string]*tfprotov6.Schema{},
	}
	own, err := p.schema.Provider.protocol()
	if err != nil {
		return nil, err
	}
	// A required argument that an environment variable can give is optional while the variable is set: so the plugin SDK
	// announces it.
	for _, a := range own.Block.Attributes {
		if a.Name == "api_key" && a.Required && os.Getenv("VULTR_API_KEY") != "" {
			a.Required, a.Optional = false, true
		}
	}
	out.Provider = own
	for from, to := range map[*map[string]schema]map[string]*tfprotov6.Schema{
		&p.schema.Resources: out.ResourceSchemas, &p.schema.Data: out.DataSourceSchemas,
	} {
		for name, s := range *from {
			if to[name], err = s.protocol(); err != nil {
				return nil, fmt.Errorf("schema of %s: %w", name, err)
			}
		}
	}
	return out, nil
}

func (p *provider) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (p *provider) GetFunctions(context.Context, *tfprotov6.GetFunctionsRequest) (*tfprotov6.GetFunctionsResponse, error) {
	return &tfprotov6.GetFunctionsResponse{}, nil
}

func (p *provider) ValidateProviderConfig(_ context.Context, req *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: req.Config}, nil
}

func (p *provider) ConfigureProvider(_ context.Context, req *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	ty, err := valueType(p.schema.Provider)
	if err != nil {
		return nil, err
	}
	config, err := decode(req.Config, ty)
	if err == nil {
		err = p.cloud.login(config, os.Getenv)
	}
	return &tfprotov6.ConfigureProviderResponse{Diagnostics: diagnose("configure "+p.cloud.provider, err)}, nil
}

func (p *provider) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	p.stop()
	return &tfprotov6.StopProviderResponse{}, nil
}

func valueType(s schema) (tftypes.Type, error) {
	out, err := s.protocol()
	if err != nil {
		return nil, err
	}
	return out.ValueType(), nil
}

// decode reads a value of the protocol; nil is null.
func decode(v *tfprotov6.DynamicValue, ty tftypes.Type) (object, error) {
	if v == nil {
		return nil, nil
	}
	value, err := v.Unmarshal(ty)
	if err != nil {
		return nil, err
	}
	out, err := plain(value)
	if err != nil {
		return nil, err
	}
	o, _ := out.(object)
	return o, nil
}

func encode(o object, ty tftypes.Type) (*tfprotov6.DynamicValue, error) {
	value := tftypes.NewValue(ty, nil)
	if o != nil {
		value = typed(ty, o)
	}
	v, err := tfprotov6.NewDynamicValue(ty, value)
	return &v, err
}

func diagnose(what string, err error) []*tfprotov6.Diagnostic {
	if err == nil {
		return nil
	}
	return []*tfprotov6.Diagnostic{{Severity: tfprotov6.DiagnosticSeverityError, Summary: what, Detail: err.Error()}}
}
