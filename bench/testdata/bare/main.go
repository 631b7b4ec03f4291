// Command bare is the smallest function of AWS Lambda in Go: what the start of every other one is measured beside.
package main

import "github.com/aws/aws-lambda-go/lambda"

func main() { lambda.Start(func() error { return nil }) }
