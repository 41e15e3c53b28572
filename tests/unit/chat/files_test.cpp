#include <doctest/doctest.h>

#include "support/chat_fixture.hpp"
#include "support/chat_stranger.hpp"
#include "support/corpus.hpp"

namespace files_test {

using namespace cohort;
using namespace cohort::test;

namespace {

struct meeting {
    explicit meeting(chat_fixture& in) : world(in) {
        alice = &world.start("alice");
        bob = &world.start("bob");
        std::filesystem::create_directories(received());
    }
    std::filesystem::path received() const { return world.folder / "received"; }

    /// Alice offers this content; completes when bob sees the offer.
    asio::awaitable<chat_event::file_offered> offer(std::string name, byte_vector content) {
        co_await bob->until<chat_event::tracker_state>();
        write_file(world.folder / name, content);
        co_await alice->node.send_file("bob", (world.folder / name).string());
        auto out = co_await bob->until<chat_event::file_offered>();
        co_return out;
    }
    asio::awaitable<void> accept(message_id id) { return bob->node.accept_file("alice", id, received().string()); }

    chat_fixture& world;
    chat_person* alice;
    chat_person* bob;
};

byte_vector noise(std::size_t size) {
    byte_vector out(size);
    random_engine random(3);
    random.fill(out);
    return out;
}

/// The offer of a torrent of one file, as a peer without manners may write it.
chat::file_offer hostile_offer(const std::string& info) {
    chat::file_offer out;
    out.name = "photo.jpg";
    out.size = 5;
    out.info = byte_vector(info.begin(), info.end());
    out.hash = {sha1_of(out.info).bytes};
    return out;
}

}  // namespace

TEST_CASE("S3-W2: a download goes on after a restart of either side") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        meeting both(world);
        const byte_vector content = noise(6'000'000);
        const auto offered = co_await both.offer("film.bin", content);
        co_await world.stop("alice");
        co_await both.accept(offered.id);
        co_await world.stop("bob");
        both.bob = &world.start("bob");
        both.alice = &world.start("alice");
        const auto done = co_await both.bob->until<chat_event::file_done>();
        CHECK(done.path == (both.received() / "film.bin").string());
        CHECK(read_file(done.path) == content);
    });
}

TEST_CASE("S3-W2: who does not want a file says so") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        meeting both(world);
        const byte_vector content = noise(1000);
        const auto offered = co_await both.offer("unwanted.bin", content);
        both.bob->node.refuse_file("alice", offered.id);
        const auto failed = co_await both.alice->until<chat_event::file_failed>();
        CHECK(failed.id == offered.id);
        CHECK(std::filesystem::is_empty(both.received()));
    });
}

TEST_CASE("S3-W2: a name that is taken is not written over, and asking twice fetches once") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        meeting both(world);
        const byte_vector content = noise(100'000);
        const auto offered = co_await both.offer("photo.jpg", content);
        const byte_vector older(10, 'o');
        write_file(both.received() / "photo.jpg", older);
        co_await both.accept(offered.id);
        co_await both.accept(offered.id);
        const auto done = co_await both.bob->until<chat_event::file_done>();
        CHECK(done.path == (both.received() / "photo (2).jpg").string());
        CHECK(read_file(done.path) == content);
        CHECK(read_file(both.received() / "photo.jpg") == older);
    });
}

TEST_CASE("S3-W2: a file that is another one by now is not passed off as the one that was offered") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        meeting both(world);
        const byte_vector content = noise(500'000);
        const auto offered = co_await both.offer("plan.txt", content);
        std::filesystem::remove(world.folder / "plan.txt");
        co_await both.accept(offered.id);
        const auto failed = co_await both.alice->until<chat_event::file_failed>();
        CHECK(failed.id == offered.id);
        CHECK(!std::filesystem::exists(both.received() / "plan.txt"));
        // The link lives on.
        co_await both.alice->node.send("bob", "sorry");
        const std::string words = co_await both.bob->hears();
        CHECK(words == "sorry");
    });
}

TEST_CASE("A49: offers that lie about what they hold fail when they are accepted, and write nothing anywhere else") {
    const std::string pieces = "6:pieces20:aaaaaaaaaaaaaaaaaaaa7:privatei1ee";
    const std::vector<std::string> infos{
        "d6:lengthi5e4:name9:../../etc12:piece lengthi16384e" + pieces,
        "d6:lengthi5e4:name10:/etc/passwd12:piece lengthi16384e" + pieces,
        "d6:lengthi5e4:name7:evil.sh12:piece lengthi16384e" + pieces,       // not the name that was shown
        "d6:lengthi9999e4:name9:photo.jpg12:piece lengthi16384e" + pieces,  // not the size
        "d6:lengthi5e4:name9:photo.jpg12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae",  // not private
        "d6:lengthi5e4:name9:photo.jpg12:piece lengthi0e" + pieces,
        "d6:lengthi-5e4:name9:photo.jpg12:piece lengthi16384e" + pieces,
        std::string(5000, 'l') + std::string(5000, 'e'),
        "rubbish",
    };
    run_chat([infos](chat_fixture& world) -> asio::awaitable<void> {
        return [](chat_fixture& in, std::vector<std::string> all) -> asio::awaitable<void> {
            chat_options how = in.options("alice");
            how.tracker.clear();
            how.accept_files = true;
            chat_person& alice = in.start(how);
            const identity self = new_identity();
            chat_stranger mallory(in.net, self, "mallory");
            co_await mallory.meet(alice.node.port());
            const conversation_id where = direct_conversation(self.key(), alice.node.key());
            const signed_entry greeting = mallory.entry(where, chat::text{"hi"});
            const std::vector<chat::head> heads{mallory.own_head()};
            co_await mallory.say_have(where, heads);
            co_await mallory.say_entry(greeting);
            for (const std::string& info : all) {
                CAPTURE(info.substr(0, 60));
                const signed_entry offer = mallory.entry(where, hostile_offer(info));
                co_await mallory.say_entry(offer);
                const auto failed = co_await alice.until<chat_event::file_failed>();
                CHECK(failed.with == "mallory");
            }
            // Accepting, refusing and progress of what was never offered.
            const chat::offer_id none{where, alice.node.key(), 17};
            const chat::message accepted = chat::file_accept{none, 1};
            const chat::message progress = chat::file_progress{none, 1};
            const chat::message refused = chat::file_refuse{none, "\x1b[2J"};
            for (int i = 0; i < 100; ++i) {
                co_await mallory.say(accepted);
                co_await mallory.say(progress);
                co_await mallory.say(refused);
            }
            co_await mallory.is_heard();
        }(world, infos);
    });
}

}  // namespace files_test
