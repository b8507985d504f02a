package remaster

import "context"

// bootFiles takes what boots from the medium or from packages.
func (p *ISOPlan) bootFiles(context.Context) error {
	return refuse("give an ISO with --template", "%s: boot files can be taken of an ISO alone", p.live.Dir)
}
