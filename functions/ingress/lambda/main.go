// Command lambda is the program of the function ingress in AWS Lambda.
package main

import "github.com/callboard/callboard/functions/ingress"

func main() { ingress.Start() }
