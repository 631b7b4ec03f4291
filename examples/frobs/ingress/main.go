// Command ingress takes the place of Callboard's own ingress: it also knows the webhooks of Frobs.
package main

import (
	"example.com/frobs"

	"github.com/callboard/callboard/functions/ingress"
)

func main() {
	ingress.Start(
		ingress.WithProfile("frobs", frobs.Profile{}),
		ingress.WithBodyParser(frobs.LinesType, frobs.Lines),
		ingress.WithValidator("frobs", frobs.Named),
	)
}
