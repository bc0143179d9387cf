package fakecloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func (p *provider) resource(typ string) (schema, tftypes.Type, error) {
	s, ok := p.schema.Resources[typ]
	if !ok {
		return s, nil, fmt.Errorf("the schema of %s has no resource %s", p.cloud.provider, typ)
	}
	ty, err := valueType(s)
	return s, ty, err
}

func (p *provider) ValidateResourceConfig(_ context.Context, req *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	_, ty, err := p.resource(req.TypeName)
	if err != nil {
		return nil, err
	}
	config, err := decode(req.Config, ty)
	if err == nil && p.rules(req.TypeName).valid != nil {
		err = p.rules(req.TypeName).valid(config)
	}
	return &tfprotov6.ValidateResourceConfigResponse{Diagnostics: diagnose("Invalid "+req.TypeName, err)}, nil
}

func (p *provider) UpgradeResourceState(_ context.Context, req *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	_, ty, err := p.resource(req.TypeName)
	if err != nil {
		return nil, err
	}
	opts := tfprotov6.UnmarshalOpts{ValueFromJSONOpts: tftypes.ValueFromJSONOpts{IgnoreUndefinedAttributes: true}}
	v, err := req.RawState.UnmarshalWithOpts(ty, opts)
	if err != nil {
		return nil, err
	}
	state, err := tfprotov6.NewDynamicValue(ty, v)
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &state}, err
}

func (p *provider) ReadResource(_ context.Context, req *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	s, ty, err := p.resource(req.TypeName)
	if err != nil {
		return nil, err
	}
	state, err := decode(req.CurrentState, ty)
	if err != nil {
		return nil, err
	}
	seen, err := p.read(req.TypeName, state)
	if err != nil {
		return &tfprotov6.ReadResourceResponse{NewState: req.CurrentState, Diagnostics: diagnose("read "+req.TypeName, err)}, nil
	}
	if seen != nil {
		for _, attr := range p.rules(req.TypeName).unread {
			seen[attr] = state[attr]
		}
		for name, n := range s.Block.Blocks {
			if n.Mode == "single" {
				seen[name] = state[name]
			}
		}
	}
	out, err := encode(seen, ty)
	return &tfprotov6.ReadResourceResponse{NewState: out, Private: req.Private}, err
}

func (p *provider) PlanResourceChange(_ context.Context, req *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	s, ty, err := p.resource(req.TypeName)
	if err != nil {
		return nil, err
	}
	config, err := decode(req.Config, ty)
	if err != nil {
		return nil, err
	}
	prior, err := decode(req.PriorState, ty)
	if err != nil {
		return nil, err
	}
	resp := &tfprotov6.PlanResourceChangeResponse{PlannedState: req.ProposedNewState, PlannedPrivate: req.PriorPrivate}
	if config == nil {
		return resp, nil
	}
	rules := p.rules(req.TypeName)
	plan := planner{rules}
	planned := plan.block(s.Block, "", prior, config)
	if prior != nil {
		for _, attr := range plan.replaced(ty, prior, planned) {
			resp.RequiresReplace = append(resp.RequiresReplace, tftypes.NewAttributePath().WithAttributeName(attr))
		}
	}
	//lint:ignore SA1019 the old SDK's providers say so, and without it core refuses their defaults
	resp.UnsafeToUseLegacyTypeSystem = rules.legacy
	resp.PlannedState, err = encode(planned, ty)
	return resp, err
}

func (p *provider) ApplyResourceChange(ctx context.Context, req *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	s, ty, err := p.resource(req.TypeName)
	if err != nil {
		return nil, err
	}
	var prior, planned, config object
	for from, to := range map[*tfprotov6.DynamicValue]*object{
		req.PriorState: &prior, req.PlannedState: &planned, req.Config: &config,
	} {
		if *to, err = decode(from, ty); err != nil {
			return nil, err
		}
	}
	ctx, cancel := p.until(ctx)
	defer cancel()
	c := &change{p: p, typ: req.TypeName, rules: p.rules(req.TypeName), prior: prior, planned: planned, config: config}
	c.empty = s.Block.collections()
	state, err := c.apply(ctx)
	resp := &tfprotov6.ApplyResourceChangeResponse{
		NewState: req.PriorState, Private: req.PlannedPrivate, Diagnostics: diagnose(c.op+" "+c.typ, err),
	}
	//lint:ignore SA1019 as in the plan
	resp.UnsafeToUseLegacyTypeSystem = c.rules.legacy
	if err == nil || errors.Is(err, errKept) {
		resp.NewState, err = encode(state, ty)
		return resp, err
	}
	return resp, nil
}

func (p *provider) ImportResourceState(_ context.Context, req *tfprotov6.ImportResourceStateRequest) (*tfprotov6.ImportResourceStateResponse, error) {
	_, ty, err := p.resource(req.TypeName)
	if err != nil {
		return nil, err
	}
	rules := p.rules(req.TypeName)
	if rules.noImport {
		err := fmt.Errorf("resource %s doesn't support import", req.TypeName)
		return &tfprotov6.ImportResourceStateResponse{Diagnostics: diagnose("import", err)}, nil
	}
	id := req.ID
	if rules.importID != nil {
		id = rules.importID(id)
	}
	if err := p.store.note(Call{Cloud: p.cloud.name, Op: "import", Type: req.TypeName, ID: id}); err != nil {
		return nil, err
	}
	state, err := encode(object{"id": id}, ty)
	return &tfprotov6.ImportResourceStateResponse{
		ImportedResources: []*tfprotov6.ImportedResource{{TypeName: req.TypeName, State: state}},
	}, err
}
