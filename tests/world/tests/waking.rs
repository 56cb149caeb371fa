//! A PC that sleeps is woken over its own network by the agent next to it, for a visitor who comes from outside.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, Site};
use doorward_world::{Program, Shape, World, addresses};

const SOON: Duration = Duration::from_secs(30);
const PORT: u16 = 7001;

#[test]
fn a_magic_packet_reaches_the_neighbour_that_it_is_for() -> Result<()> {
    let world = World::build(Shape::home().with_second_device())?;
    let (pc, device) = (world.second_device()?, &world.device);
    let [address, _] = addresses::SECOND_DEVICE;
    let words = [pc.interface()?, format!("{address}/24"), PORT.to_string()];
    let mut sleeper = pc.spawn(&site::script("sleeper.py", &words))?;
    let asleep = sleeper.wait_for_line("asleep with", SOON)?;
    let mac = asleep.rsplit(' ').next().context("it says its address")?;
    let agent_file = format!(
        "[[service]]\nname = \"pc\"\ntarget = \"tcp://{address}:{PORT}\"\nentrances = [{{ tcp-port = {} }}]\n\
         prepare = [{{ wake = \"{mac}\", interface = \"{}\" }}]\nready = {{ tcp = \"{address}:{PORT}\", every = \"1s\" }}\n\
         wake-on-visit = true\naccess = {{ who = \"public\" }}\n",
        site::TCP_PORT,
        device.interface()?,
    );
    let _site = Site::start_with(&world, site::GATEWAY_FILE, &agent_file)?;
    ensure!(!sleeper.log().contains("magic packet"), "it was woken before anybody came");
    let gateway = addresses::GATEWAY[0];
    let visit = "import socket,sys\nv=socket.create_connection((sys.argv[1],int(sys.argv[2])),60)\n\
                 v.sendall(b'well?')\nprint(v.recv(5).decode())";
    let visit = Program::new("/usr/bin/python3").args(["-c", visit, &gateway.to_string(), &site::TCP_PORT.to_string()]);
    let said = world.visitor.run_program(&visit, Duration::from_secs(90))?.ok()?;
    ensure!(said.trim() == "well?", "it answers {said:?}");
    println!("{}", sleeper.log());
    sleeper.wait_for_line("magic packet 1 to everybody", SOON)?;
    Ok(())
}
