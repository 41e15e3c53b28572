#include <cohort/policy/smart_ban.hpp>

#include <set>

#include <doctest/doctest.h>

#include <cohort/core/endian.hpp>
#include <cohort/core/random.hpp>

namespace smart_ban_test {

using namespace cohort;

namespace {

/// Even ones share an address and differ by port, as peers behind one address do.
endpoint host(std::uint32_t n) {
    return n % 2 == 0 ? endpoint{ip_address::loopback_v4(), static_cast<std::uint16_t>(n + 1)}
                      : endpoint{ip_address::v4(0x0a000000 + n), 0};
}

sha1_digest digest(std::uint32_t n) {
    sha1_digest out;
    store_be(out.bytes.data(), n);
    return out;
}

using hosts = std::vector<endpoint>;
using digests = std::vector<sha1_digest>;

}  // namespace

TEST_CASE("who gave all of a bad piece is guilty at once") {
    smart_ban ban;
    const hosts from{host(1), host(1), host(1)};
    const digests of{digest(1), digest(2), digest(3)};
    CHECK(ban.failed(5, from, of) == hosts{host(1)});
    CHECK_FALSE(ban.remembers(5));
    CHECK(ban.failed(6, hosts{host(2)}, digests{digest(1)}) == hosts{host(2)});
    CHECK(ban.failed(6, hosts{}, digests{}).empty());
}

TEST_CASE("of several contributors the one whose block was different is guilty, and nobody else") {
    smart_ban ban;
    CHECK(ban.failed(5, hosts{host(1), host(2), host(1)}, digests{digest(1), digest(66), digest(3)}).empty());
    CHECK(ban.remembers(5));
    CHECK(ban.remembered_blocks() == 3);
    CHECK(ban.passed(5, digests{digest(1), digest(2), digest(3)}) == hosts{host(2)});
    CHECK_FALSE(ban.remembers(5));
    CHECK(ban.remembered_blocks() == 0);
    CHECK(ban.passed(5, digests{digest(1), digest(2), digest(3)}).empty());
}

TEST_CASE("the guilty of several failures of one piece are found together, each once") {
    smart_ban ban;
    ban.failed(5, hosts{host(1), host(2), host(3)}, digests{digest(1), digest(66), digest(3)});
    ban.failed(5, hosts{host(1), host(2), host(4)}, digests{digest(1), digest(67), digest(99)});
    CHECK(ban.passed(5, digests{digest(1), digest(2), digest(3)}) == hosts{host(2), host(4)});
}

TEST_CASE("memory is bounded, and the oldest pieces are forgotten first") {
    smart_ban ban(100);
    const auto fail = [&](piece_index piece, std::uint32_t blocks) {
        hosts from(blocks, host(1));
        from.back() = host(2);
        ban.failed(piece, from, digests(blocks, digest(9)));
    };
    for (piece_index p = 0; p < 50; ++p) {
        fail(p, 10);
        CHECK(ban.remembered_blocks() <= 100);
    }
    CHECK(ban.remembers(49));
    CHECK(ban.remembers(40));
    CHECK_FALSE(ban.remembers(39));
    for (int i = 0; i < 1000; ++i) fail(45, 10);
    CHECK(ban.remembered_blocks() <= 100);
    CHECK(ban.remembers(45));
    CHECK(ban.remembers(49));
    fail(100, 1000);  // a piece too big to remember
    CHECK_FALSE(ban.remembers(100));
    fail(101, 100);
    CHECK(ban.remembers(101));
    CHECK(ban.remembered_blocks() == 100);
}

TEST_CASE("in a random swarm with one liar the liar is found and no honest peer is") {
    random_engine random(1);
    for (int round = 0; round < 100; ++round) {
        smart_ban ban;
        std::set<endpoint> guilty;
        for (piece_index piece = 0; piece < 20; ++piece) {
            for (int attempt = 0;; ++attempt) {
                hosts from;
                digests of, truth;
                bool bad = false;
                for (std::uint32_t i = 0; i < 8; ++i) {
                    from.push_back(host(random.below(5)));
                    truth.push_back(digest(piece * 8 + i));
                    const bool lie = from.back() == host(0) && !guilty.contains(host(0)) && random.below(2) == 0;
                    of.push_back(lie ? digest(random.below(1u << 31) + 1000) : truth.back());
                    bad |= lie;
                }
                const hosts found = bad ? ban.failed(piece, from, of) : ban.passed(piece, of);
                guilty.insert(found.begin(), found.end());
                if (!bad) break;
                REQUIRE(attempt < 1000);
            }
        }
        CHECK(guilty == std::set<endpoint>{host(0)});
    }
}

}  // namespace smart_ban_test
