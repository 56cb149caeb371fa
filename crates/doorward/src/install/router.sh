#!/bin/sh /etc/rc.common
# {description}.

START={start}
STOP={stop}
USE_PROCD=1

start_service() {{
	# It becomes this user by itself, and keeps one right: procd alone cannot give that.
	user_exists {name} || user_add {name} "" "$(group_add_next {name})"

	procd_open_instance
	procd_set_param command {command}
	procd_set_param respawn 3600 5 0
	procd_set_param stdout 1
	procd_set_param stderr 1
	procd_close_instance
}}
