// Command lambda is the program of the function router in AWS Lambda.
package main

import "github.com/callboard/callboard/functions/router"

func main() { router.Start() }
