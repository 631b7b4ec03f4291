// Command lambda is the program of the function notifications-api in AWS Lambda.
package main

import notificationsapi "github.com/callboard/callboard/functions/notifications-api"

func main() { notificationsapi.Start() }
