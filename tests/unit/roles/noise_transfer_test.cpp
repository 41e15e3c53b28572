// A file between two people who know each other: seeder and leecher, unchanged, over a Noise network.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include <cohort/leecher.hpp>
#include <cohort/net/noise_network.hpp>
#include <cohort/seeder.hpp>

#include "support/net.hpp"
#include "support/run.hpp"
#include "support/swarm_fixture.hpp"

namespace noise_transfer_test {

using namespace cohort;

namespace {

identity somebody(std::uint8_t number) { return identity(key32{number}); }

noise_network::predicate only(const identity_key& one) {
    return [one](const identity_key& key) { return key == one; };
}

/// All that went over the connections that were dialled, in both directions.
class wiretap final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;

    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override {
        std::unique_ptr<stream> link = co_await inner().connect(to);
        co_return std::make_unique<tapped>(std::move(link), heard);
    }

    bool has_heard(byte_view what) const {
        return std::search(heard->begin(), heard->end(), what.begin(), what.end()) != heard->end();
    }

    std::shared_ptr<byte_vector> heard = std::make_shared<byte_vector>();

private:
    class tapped final : public stream {
    public:
        tapped(std::unique_ptr<stream> inner, std::shared_ptr<byte_vector> heard)
            : inner_(std::move(inner)), heard_(std::move(heard)) {}
        asio::awaitable<std::size_t> read_some(byte_span into) override {
            const std::size_t got = co_await inner_->read_some(into);
            note(into.first(got));
            co_return got;
        }
        asio::awaitable<void> write(std::span<const byte_view> buffers) override {
            for (const byte_view part : buffers) note(part);
            return inner_->write(buffers);
        }
        void finish() noexcept override { inner_->finish(); }
        void close() noexcept override { inner_->close(); }
        endpoint remote_endpoint() const override { return inner_->remote_endpoint(); }
        endpoint local_endpoint() const override { return inner_->local_endpoint(); }

    private:
        void note(byte_view bytes) { heard_->insert(heard_->end(), bytes.begin(), bytes.end()); }

        std::unique_ptr<stream> inner_;
        std::shared_ptr<byte_vector> heard_;
    };
};

seeder_options seeding(const test::shared_content& content) {
    seeder_options out;
    out.path = content.path;
    out.addresses = {ip_address::loopback_v4()};
    out.port = 0;
    return out;
}

leecher_options leeching(const std::filesystem::path& directory, std::uint16_t from) {
    leecher_options out;
    out.directory = directory.string();
    out.addresses = {ip_address::loopback_v4()};
    out.port = 0;
    out.peers = {endpoint{ip_address::loopback_v4(), from}};
    return out;
}

asio::awaitable<void> transfer(network& machine) {
    const identity ann = somebody(1);
    const identity bob = somebody(2);
    wiretap line(machine);
    noise_network of_ann(machine, ann, only(bob.key()));
    noise_network of_bob(line, bob, only(ann.key()));
    test::swarm_fixture world(machine);
    const test::shared_content content = world.make_content(1'500'000);

    seeder from(of_ann, content.info, seeding(content));
    leecher to(of_bob, content.info, leeching(world.directory / "copy", from.port()));
    task_group tasks(machine.executor());
    tasks.spawn(from.run());
    co_await with_timeout(machine, test::patience, to.run());
    tasks.cancel();
    std::error_code end;
    co_await test::store_error(end, tasks.join());
    CHECK(world.is_copy(content, "copy"));

    // It all went over the wire, and nothing of it could be read there.
    CHECK(line.heard->size() > content.bytes.size());
    CHECK(!line.has_heard(as_bytes("BitTorrent protocol")));
    CHECK(!line.has_heard(byte_view(content.bytes).first(16)));
    CHECK(!line.has_heard(content.info.hash.view()));
}

/// Whoever does not speak Noise, or is not allowed, stays without a byte, while the transfer goes on.
asio::awaitable<void> keep_others_out(network& machine) {
    const identity ann = somebody(1);
    const identity bob = somebody(2);
    const identity eve = somebody(3);
    noise_network of_ann(machine, ann, only(bob.key()));
    noise_network of_bob(machine, bob, only(ann.key()));
    noise_network of_eve(machine, eve, only(ann.key()));
    wiretap plain(machine);
    test::swarm_fixture world(machine);
    const test::shared_content content = world.make_content(300'000);

    seeder from(of_ann, content.info, seeding(content));
    leecher outsider(plain, content.info, leeching(world.directory / "outsider", from.port()));
    leecher spy(of_eve, content.info, leeching(world.directory / "spy", from.port()));
    task_group tasks(machine.executor());
    tasks.spawn(from.run());
    tasks.spawn(outsider.run());
    tasks.spawn(spy.run());
    leecher to(of_bob, content.info, leeching(world.directory / "copy", from.port()));
    co_await with_timeout(machine, test::patience, to.run());
    tasks.cancel();
    std::error_code end;
    co_await test::store_error(end, tasks.join());
    CHECK(world.is_copy(content, "copy"));
    CHECK(!world.is_copy(content, "outsider"));
    CHECK(!world.is_copy(content, "spy"));
    CHECK(plain.has_heard(as_bytes("BitTorrent protocol")));  // the tap works: that is what the outsider said
    CHECK(!plain.has_heard(byte_view(content.bytes).first(16)));
}

}  // namespace

TEST_CASE("a torrent crosses a Noise network between two people, and the wire shows nothing of it") {
    test::run(&transfer, 2 * test::patience);
}

TEST_CASE("who is not allowed gets nothing of a torrent on a Noise network (A50)") {
    test::run(&keep_others_out, 2 * test::patience);
}

}  // namespace noise_transfer_test
