//! How long visitors wait after something went wrong. Home is behind its own and a carrier's NAT, 50 ms from the
//! gateway. Each figure is the time until a new visitor was served over HTTP, TCP and UDP.

use std::fs;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, Poll, SOON, Site, report};
use doorward_world::{Conditions, Fault, Shape, World, addresses, until};

/// Longer than any recovery may take; a test gives up then.
const LIMIT: Duration = Duration::from_secs(90);

const GATEWAY_BACK: Duration = Duration::from_millis(1500);
const AGENT_BACK: Duration = Duration::from_millis(500);
const HOST_BACK: Duration = Duration::from_secs(3);
const NAT_FORGOT: Duration = Duration::from_secs(10);
const BLACKHOLE_OVER: Duration = Duration::from_millis(500);

/// A carrier may lose the race on a machine that is busy; the way back to it is tried for soon, and again after half a
/// minute.
const TO_CLIMB: Duration = Duration::from_secs(60);
/// Between two pings over TCP.
const PING_EVERY: Duration = Duration::from_secs(8);

/// A site with a visitor who keeps asking.
struct Scene {
    site: Site,
    poll: Poll,
    carrier: &'static str,
    /// For the figures.
    way: &'static str,
    /// That the device may get.
    spare: IpAddr,
    _blocked: Option<Fault>,
    // Last: the logs of the others lie in it.
    world: World,
}

impl Scene {
    fn start(carrier: &'static str) -> Result<Scene> {
        let conditions = Conditions::new().delay(Duration::from_millis(25));
        let shape = Shape::home().behind_carrier_nat().with_second_device().over_line(conditions);
        let world = World::build(shape)?;
        let blocked = (carrier == "tls").then(|| world.home_router.block_udp()).transpose()?;
        let site = Site::start(&world)?;
        let poll = Poll::of(&world)?;
        let (way, spare) = (carrier, addresses::DEVICE_SPARE);
        let mut scene = Scene { world, site, poll, carrier, way, spare, _blocked: blocked };
        scene.returns_to_its_carrier()?;
        Ok(scene)
    }

    /// Nobody has anything but IPv6, and there is no NAT.
    fn start_over_ipv6() -> Result<Scene> {
        let conditions = Conditions::new().delay(Duration::from_millis(25));
        let world = World::build(Shape::home().with_ipv6_at_home().over_line(conditions))?;
        world.point("gateway.example", &addresses::GATEWAY[1..])?;
        for node in [&world.device, &world.visitor] {
            let all = node.addresses().into_iter();
            node.change_addresses(&all.filter(IpAddr::is_ipv6).collect::<Vec<_>>())?.stays();
        }
        let site = Site::start(&world)?;
        let poll = Poll::start(&world.visitor, addresses::GATEWAY[1])?;
        let (carrier, way, spare) = ("quic", "quic over IPv6", addresses::DEVICE_SPARE_IPV6);
        let mut scene = Scene { world, site, poll, carrier, way, spare, _blocked: None };
        scene.returns_to_its_carrier()?;
        Ok(scene)
    }

    fn returns_to_its_carrier(&mut self) -> Result<()> {
        let has_returned = || Ok(self.site.carrier().context("the agent did not connect")? == self.carrier);
        let took = until(TO_CLIMB, "the link is back on its carrier", has_returned)?;
        println!("    on {} after another {took:.1?}", self.carrier);
        self.poll.served_since(SystemTime::now(), SOON).map(drop)
    }

    /// Reports how long after `event` visitors were served again.
    fn recovered(&mut self, what: &str, event: SystemTime, goal: Duration) -> Result<()> {
        let took = self.poll.served_since(event, LIMIT)?;
        report(&format!("{what}, {}", self.way), took, goal)?;
        // Whatever was under way settles before the next blow.
        sleep(Duration::from_secs(2));
        Ok(())
    }

    fn gateway_killed_and_back_after_3_seconds(&mut self) -> Result<()> {
        self.site.gateway.kill()?;
        sleep(Duration::from_secs(3));
        let event = SystemTime::now();
        self.site.gateway = site::serve(&self.world.gateway)?;
        self.recovered("gateway killed, back after 3 s", event, GATEWAY_BACK)
    }

    fn gateway_restarted(&mut self) -> Result<()> {
        let event = SystemTime::now();
        self.site.gateway.stop(Duration::from_secs(40))?;
        println!("    the gateway stopped after {:?}", event.elapsed()?);
        let event = SystemTime::now();
        self.site.gateway = site::serve(&self.world.gateway)?;
        self.recovered("gateway restarted", event, GATEWAY_BACK)
    }

    fn agent_killed_and_restarted(&mut self) -> Result<()> {
        self.site.agent.kill()?;
        let event = SystemTime::now();
        self.site.agent = site::run_agent(&self.world.device)?;
        self.recovered("agent killed and restarted", event, AGENT_BACK)
    }

    fn agents_host_vanished_and_another_has_its_state(&mut self) -> Result<()> {
        self.world.device.vanish()?;
        self.site.agent.kill()?;
        let second = self.world.second_device()?.clone();
        copy_folder(&self.world.device, &second)?;
        self.site.services = site::offer(&second)?;
        sleep(Duration::from_secs(2));
        let event = SystemTime::now();
        self.site.agent = site::run_agent(&second)?;
        self.recovered("agent's host vanished, replaced", event, HOST_BACK)
    }

    /// While nobody visits, as mappings are forgotten: the agent has to find out by itself.
    fn nat_forgot(&mut self) -> Result<()> {
        let asleep = self.poll.freeze()?;
        sleep(Duration::from_secs(1));
        self.world.carrier()?.forget_mappings()?;
        let event = SystemTime::now();
        asleep.mend()?;
        self.recovered("NAT forgot all mappings", event, NAT_FORGOT)
    }

    /// At other moments between two pings each time, all of which counts from a link that is a few seconds old.
    fn nat_forgot_at_any_moment(&mut self) -> Result<()> {
        const TIMES: u32 = 5;
        for turn in 0..TIMES {
            sleep((PING_EVERY * turn + PING_EVERY.mul_f64(rand::random::<f64>())) / TIMES);
            self.nat_forgot()?;
        }
        Ok(())
    }

    fn blackhole_of_20_seconds(&mut self) -> Result<()> {
        self.world.line()?.cut()?.mend_after(Duration::from_secs(20))?;
        let event = SystemTime::now();
        self.recovered("20 s blackhole", event, BLACKHOLE_OVER)
    }

    fn cable_cut_for_8_seconds(&mut self) -> Result<()> {
        self.world.home_router.cut()?.mend_after(Duration::from_secs(8))?;
        let event = SystemTime::now();
        self.recovered("cable cut for 8 s", event, HOST_BACK)
    }

    fn udp_ports_rebound(&mut self) -> Result<()> {
        self.world.carrier()?.rebind_udp_ports()?;
        let event = SystemTime::now();
        self.recovered("NAT rebinding", event, NAT_FORGOT)
    }

    fn router_redials(&mut self) -> Result<()> {
        self.world.home_router.redial(&[addresses::HOME_AT_CARRIER_SPARE])?.stays();
        let event = SystemTime::now();
        self.recovered("router redial", event, NAT_FORGOT)
    }

    fn device_changes_its_address(&mut self) -> Result<()> {
        self.world.device.change_addresses(&[self.spare])?.stays();
        let event = SystemTime::now();
        self.recovered("device address change", event, HOST_BACK)
    }
}

trait MendAfter {
    fn mend_after(self, length: Duration) -> Result<()>;
}

impl MendAfter for Fault {
    fn mend_after(self, length: Duration) -> Result<()> {
        sleep(length);
        self.mend()
    }
}

fn copy_folder(from: &doorward_world::Node, to: &doorward_world::Node) -> Result<()> {
    fs::copy(site::agent_settings(from), site::agent_settings(to))?;
    let (from, to) = (site::state(from), site::state(to));
    to_ok(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status()?)
}

fn to_ok(status: std::process::ExitStatus) -> Result<()> {
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn over_quic_service_is_back_by_itself_when_a_process_or_a_host_comes_back() -> Result<()> {
    let mut scene = Scene::start("quic")?;
    scene.gateway_killed_and_back_after_3_seconds()?;
    scene.gateway_restarted()?;
    scene.agent_killed_and_restarted()?;
    scene.returns_to_its_carrier()?;
    scene.agents_host_vanished_and_another_has_its_state()?;
    scene.returns_to_its_carrier()
}

#[test]
fn over_quic_service_is_back_by_itself_when_the_network_recovers() -> Result<()> {
    let mut scene = Scene::start("quic")?;
    scene.udp_ports_rebound()?;
    scene.nat_forgot()?;
    scene.router_redials()?;
    scene.device_changes_its_address()?;
    scene.cable_cut_for_8_seconds()?;
    scene.blackhole_of_20_seconds()?;
    scene.returns_to_its_carrier()
}

#[test]
fn over_tls_service_is_back_by_itself() -> Result<()> {
    let mut scene = Scene::start("tls")?;
    scene.gateway_killed_and_back_after_3_seconds()?;
    scene.nat_forgot()?;
    scene.blackhole_of_20_seconds()?;
    scene.agent_killed_and_restarted()?;
    scene.agents_host_vanished_and_another_has_its_state()?;
    scene.returns_to_its_carrier()
}

#[test]
fn over_tls_a_nat_that_forgot_is_noticed_in_time_at_whatever_moment_it_does() -> Result<()> {
    Scene::start("tls")?.nat_forgot_at_any_moment()
}

#[test]
fn over_ipv6_alone_service_is_back_by_itself() -> Result<()> {
    let mut scene = Scene::start_over_ipv6()?;
    scene.gateway_killed_and_back_after_3_seconds()?;
    scene.gateway_restarted()?;
    scene.agent_killed_and_restarted()?;
    scene.device_changes_its_address()?;
    scene.cable_cut_for_8_seconds()?;
    scene.returns_to_its_carrier()
}

#[test]
fn a_gateway_out_of_reach_for_two_minutes_is_found_again() -> Result<()> {
    let mut scene = Scene::start("quic")?;
    scene.world.gateway.cut()?.mend_after(Duration::from_secs(120))?;
    let event = SystemTime::now();
    scene.recovered("gateway out of reach for 120 s", event, HOST_BACK)
}

#[test]
fn an_agent_that_started_before_the_network_connects_when_it_is_there() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut site = Site::start(&world)?;
    site.agent.kill()?;
    let unplugged = world.device.unplug()?;
    world.device.point("gateway.example", &[])?;
    let mut agent = site::run_agent(&world.device)?;
    sleep(Duration::from_secs(5));
    ensure!(!agent.log().contains("connected"), "{}", agent.log());
    let mut poll = Poll::waiting(&world.visitor, addresses::GATEWAY[0])?;
    unplugged.mend()?;
    sleep(Duration::from_secs(3));
    ensure!(!agent.log().contains("connected"), "{}", agent.log());
    world.device.point("gateway.example", &addresses::GATEWAY)?;
    let event = SystemTime::now();
    agent.wait_for_line("connected", SOON)?;
    report("boot before the network and its names", poll.served_since(event, LIMIT)?, HOST_BACK)?;
    Ok(())
}
