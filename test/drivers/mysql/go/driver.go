// Package drivers names the driver whose own tests are compiled here, at the version of go.mod.
package drivers

import _ "github.com/go-sql-driver/mysql"
