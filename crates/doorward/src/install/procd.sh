#!/bin/sh /etc/rc.common
# {description}.

START={start}
STOP={stop}
USE_PROCD=1

# /var is in memory here: what must outlive a restart of the machine is kept in /etc.
STATE=/etc/doorward/state

start_service() {{
	# A user of its own, with a directory that is nobody else's.
	user_exists {name} || user_add {name} "" "$(group_add_next {name})"
	mkdir -p "$STATE/{part}"
	chmod 0700 "$STATE/{part}"
	chown -hR {name}:{name} "$STATE/{part}"

	procd_open_instance
	procd_set_param command {command}
	procd_set_param env STATE_DIRECTORY="$STATE" XDG_CONFIG_HOME=/etc
	procd_set_param user {name}
	procd_set_param group {name}
	procd_set_param no_new_privs 1
	procd_set_param limits nofile="{max_files} {max_files}"
	procd_set_param respawn 3600 5 0
	procd_set_param stdout 1
	procd_set_param stderr 1
	procd_close_instance
}}

reload_service() {{
	procd_send_signal {name}
}}
