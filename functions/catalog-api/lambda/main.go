// Command lambda is the program of the function catalog-api in AWS Lambda.
package main

import catalogapi "github.com/callboard/callboard/functions/catalog-api"

func main() { catalogapi.Start() }
