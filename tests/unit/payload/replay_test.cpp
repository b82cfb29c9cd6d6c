#include "payload/replay.hpp"

#include "payload/transcode.hpp"
#include "sha256.hpp"
#include "spool_support.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <random>
#include <vector>

namespace gw::payloads {
namespace {

using state = replay::reader::state;
using testing::manual_queue;
using testing::openssl_base64;
using testing::random_bytes;
using testing::read_all;
using testing::scratch_dir;
using testing::sha256;

// Small units, so that every edge is near.
spool_limits tiny(const scratch_dir& dir)
{
    return {
        .dir = dir.path(),
        .memory_per_body = 256,
        .memory = 1 << 20,
        .disk = 1 << 20,
        .block = 64,
        .write = 128,
        .read = 48
    };
}

failure gone()
{
    return {.what = code::client_gone, .from = origin::client, .text = "the client left"};
}

class replay_test : public ::testing::Test
{
protected:
    // Appends as the writer of a connection would: only while more is wanted.
    bool write(replay& log, std::string_view bytes, std::size_t step)
    {
        while (!bytes.empty()) {
            if (!queue.run_until([&] { return log.wants_more() || log.failed() != nullptr; }) ||
                log.failed() != nullptr) {
                return false;
            }
            const auto part = bytes.substr(0, step);
            log.append(part);
            bytes.remove_prefix(part.size());
            most_memory = std::max(most_memory, log.in_memory());
        }
        return true;
    }

    reservation admit(spool& store, std::optional<std::uint64_t> expected, copies how)
    {
        auto space = store.admit(expected, how);
        EXPECT_TRUE(space);
        return std::move(space).value_or(reservation{});
    }

    scratch_dir dir;
    manual_queue queue;
    std::uint64_t most_memory = 0;
};

TEST_F(replay_test, a_small_body_is_one_piece_in_memory)
{
    spool store({.dir = dir.path()});
    const std::string body = random_bytes(1000, 1);
    replay log(store, queue.poster(), admit(store, body.size(), copies::required));
    for (std::size_t at = 0; at < body.size(); at += 7) {
        log.append(std::string_view(body).substr(at, 7));
    }
    log.finish();
    EXPECT_TRUE(log.complete());
    EXPECT_EQ(log.size(), body.size());
    EXPECT_EQ(log.view({0, body.size()}), body);
    EXPECT_EQ(log.view({10, 20}), std::string_view(body).substr(10, 10));
    EXPECT_FALSE(log.view({10, body.size() + 1}));
    EXPECT_EQ(log.view({5, 5}), "");
    EXPECT_FALSE(log.spilled());
    EXPECT_TRUE(log.replayable());

    auto reader = log.read_from(0);
    EXPECT_EQ(reader.now(), state::ready);
    EXPECT_EQ(reader.take(), body);
    EXPECT_EQ(reader.now(), state::end);
    EXPECT_FALSE(reader.take());
}

// Appends by room() and commit(), at most `step` bytes at a time.
bool read_into(replay& log, std::string_view bytes, std::size_t step)
{
    const auto room = log.room();
    const std::size_t size = std::min({room.size(), bytes.size(), step});
    std::copy_n(bytes.begin(), size, room.begin());
    log.commit(size);
    return size != 0;
}

TEST_F(replay_test, what_is_read_into_its_room_is_the_same_as_what_is_appended)
{
    for (const bool real : {false, true}) {
        spool store(real ? spool_limits{.dir = dir.path()} : tiny(dir));
        const std::size_t block = store.limits().block;
        for (const std::size_t size : {block - 1, block, block + 1, 5 * block + 7, 12 * block}) {
            for (const std::size_t step : {block / 9 + 1, block / 2 + 3, block - 1, 2 * block}) {
                for (const bool told : {false, true}) {
                    const std::string body = random_bytes(size, static_cast<unsigned>(size + step));
                    replay log(
                        store, queue.poster(), told ? admit(store, size, copies::required) : reservation{}
                    );
                    std::string got;
                    auto reader = log.read_from(0);
                    for (std::size_t at = 0; at < size; at = log.size()) {
                        ASSERT_TRUE(queue.run_until([&] { return log.wants_more(); }));
                        if (at / 3 % 4 == 0) {
                            log.append(std::string_view(body).substr(at, step)); // the two may take turns
                        } else {
                            ASSERT_TRUE(read_into(log, std::string_view(body).substr(at), step));
                        }
                        if (const auto part = reader.take(step / 2 + 1)) {
                            got += *part;
                        }
                    }
                    log.finish();
                    ASSERT_TRUE(log.room().empty());
                    ASSERT_TRUE(read_all(queue, reader, got));
                    ASSERT_EQ(sha256(got), sha256(body)) << size << " by " << step;
                    std::string again;
                    auto second = log.read_from(0);
                    ASSERT_TRUE(read_all(queue, second, again));
                    ASSERT_EQ(sha256(again), sha256(body)) << size << " by " << step;
                }
            }
        }
    }
}

TEST_F(replay_test, room_outlives_the_bodys_failure)
{
    spool store(tiny(dir));
    replay log(store, queue.poster(), admit(store, 1000, copies::required));
    ASSERT_TRUE(write(log, random_bytes(100, 1), 100));
    const auto room = log.room();
    ASSERT_FALSE(room.empty());
    log.fail(gone());
    const auto other = store.blocks().lend(); // somebody else's now, were it not held
    std::ranges::fill(room, 'x');
    EXPECT_NE(static_cast<const void*>(other.get()), static_cast<const void*>(room.data()));
    log.commit(room.size());
    EXPECT_TRUE(log.room().empty());
    EXPECT_EQ(log.size(), 100U);
}

TEST_F(replay_test, a_whole_body_touches_no_file_until_its_copy_is_dropped)
{
    auto limits = tiny(dir);
    limits.whole = 3000;
    spool store(limits);
    const std::string body = random_bytes(2000, 21);
    {
        replay log(store, queue.poster(), admit(store, body.size(), copies::wanted));
        ASSERT_TRUE(write(log, body, 77));
        log.finish();
        queue.run_some();
        EXPECT_FALSE(log.spilled());
        EXPECT_EQ(log.in_memory(), body.size());
        EXPECT_TRUE(log.replayable());
        std::string got;
        auto reader = log.read_from(0);
        ASSERT_TRUE(read_all(queue, reader, got));
        EXPECT_EQ(got, body);
        EXPECT_EQ(store.now().memory, body.size());
    }
    EXPECT_EQ(store.now().memory, 0U);

    replay log(store, queue.poster(), admit(store, body.size(), copies::wanted));
    auto reader = log.read_from(0);
    std::string got;
    log.append(std::string_view(body).substr(0, 500));
    log.keep_copy(false);
    EXPECT_EQ(store.now().memory, 256U + 128U) << "its place is somebody else's";
    for (std::size_t at = 500; at < body.size();) {
        while (const auto part = reader.take()) {
            got += *part;
        }
        ASSERT_TRUE(log.wants_more());
        log.append(std::string_view(body).substr(at, 100));
        at += 100;
        EXPECT_LE(log.in_memory(), 64U + 100U) << "what was passed goes at once";
    }
    log.finish();
    ASSERT_TRUE(read_all(queue, reader, got));
    EXPECT_EQ(got, body);
    EXPECT_FALSE(log.replayable());
    EXPECT_FALSE(log.spilled());
}

TEST_F(replay_test, an_adopted_body_is_not_copied)
{
    spool store({.dir = dir.path()});
    std::string body = random_bytes(5000, 2);
    body.reserve(body.size() + replay::padding);
    const char* const where = body.data();
    replay log(store, queue.poster());
    log.adopt(std::move(body));
    log.finish();
    const auto seen = log.view({0, 5000});
    ASSERT_TRUE(seen);
    EXPECT_EQ(static_cast<const void*>(seen->data()), where);
    EXPECT_EQ(sha256(*seen), sha256(random_bytes(5000, 2)));
}

TEST_F(replay_test, what_follows_an_adopted_beginning)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(700, 3);
    replay log(store, queue.poster());
    log.append(std::string_view(body).substr(0, 10));
    log.adopt(body.substr(10, 300));
    ASSERT_TRUE(write(log, std::string_view(body).substr(310), 33));
    log.finish();
    auto reader = log.read_from(0);
    std::string got;
    EXPECT_TRUE(read_all(queue, reader, got));
    EXPECT_EQ(sha256(got), sha256(body));
}

TEST_F(replay_test, a_body_of_unknown_size_grows)
{
    spool store({.dir = dir.path()});
    for (const std::size_t length : {1U, 4095U, 4096U, 4097U, 65'535U, 65'536U, 65'537U, 262'144U}) {
        const std::string body = random_bytes(length, 4);
        replay log(store, queue.poster());
        ASSERT_TRUE(write(log, body, 4000));
        log.finish();
        EXPECT_FALSE(log.spilled());
        EXPECT_EQ(log.view({0, length}).has_value(), length <= 65'536) << length;
        const auto whole = log.copy({0, length});
        ASSERT_TRUE(whole);
        EXPECT_EQ(sha256(*whole), sha256(body));
    }
    EXPECT_EQ(store.now().memory, 0U);
}

TEST_F(replay_test, a_reader_follows_the_live_end)
{
    spool store({.dir = dir.path()});
    replay log(store, queue.poster());
    auto reader = log.read_from(0);
    EXPECT_EQ(reader.now(), state::waiting);
    EXPECT_FALSE(reader.take());

    int calls = 0;
    reader.when_ready([&] { ++calls; });
    EXPECT_EQ(calls, 0);
    log.append("hello ");
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(reader.take(3), "hel");
    log.append("world");
    EXPECT_EQ(calls, 1) << "one call per registration";
    EXPECT_EQ(reader.take(), "lo world");
    reader.when_ready([&] { ++calls; });
    log.finish();
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(reader.now(), state::end);
    reader.when_ready([&] { ++calls; });
    EXPECT_EQ(calls, 3) << "at once when it is not waiting";
}

TEST_F(replay_test, a_view_outlives_growth)
{
    spool store({.dir = dir.path()});
    replay log(store, queue.poster());
    log.append("first");
    auto reader = log.read_from(0);
    const auto seen = reader.take();
    log.append(std::string(60'000, 'x'));
    log.append(std::string(60'000, 'y'));
    EXPECT_EQ(seen, "first");
}

TEST_F(replay_test, every_size_around_the_edges_comes_back_whole)
{
    spool store(tiny(dir));
    for (std::size_t length = 0; length <= 700; ++length) {
        const std::string body = random_bytes(length, static_cast<unsigned>(length));
        const bool told = length % 2 == 0;
        replay log(store, queue.poster(), told ? admit(store, length, copies::required) : reservation{});
        auto live = log.read_from(0);
        ASSERT_TRUE(write(log, body, length % 61 + 1));
        log.finish();
        for (const std::size_t from : {std::size_t{0}, length / 3, length}) {
            auto late = log.read_from(from);
            std::string got;
            ASSERT_TRUE(read_all(queue, late, got)) << length;
            ASSERT_EQ(sha256(got), sha256(body.substr(from))) << length << " from " << from;
        }
        std::string got;
        ASSERT_TRUE(read_all(queue, live, got));
        ASSERT_EQ(sha256(got), sha256(body)) << length;
        ASSERT_EQ(log.spilled(), length > 256 && log.spilled()) << "no file for what fits";
    }
    EXPECT_LE(most_memory, 256U + 128U + 61U + 64U);
    EXPECT_TRUE(queue.run_until([&] { return store.now().disk == 0 && store.now().memory == 0; }));
    EXPECT_TRUE(dir.empty()) << "files have no names";
}

TEST_F(replay_test, real_units_spill_and_memory_stays_bounded)
{
    spool store({.dir = dir.path()});
    const auto limits = store.limits();
    for (const std::size_t length : {limits.memory_per_body + 1, std::size_t{3} << 20U}) {
        const std::string body = random_bytes(length, 5);
        most_memory = 0;
        replay log(store, queue.poster(), admit(store, length, copies::wanted));
        ASSERT_TRUE(write(log, body, 50'000));
        log.finish();
        EXPECT_LE(most_memory, limits.memory_per_body + limits.write + 50'000);
        ASSERT_TRUE(queue.run_until([&] { return log.spilled(); }));
        auto reader = log.read_from(0);
        std::string got;
        ASSERT_TRUE(read_all(queue, reader, got));
        EXPECT_EQ(sha256(got), sha256(body));
        EXPECT_TRUE(log.replayable());
        EXPECT_LE(log.in_memory(), limits.memory_per_body + limits.write);
    }
    EXPECT_EQ(store.now().io_errors, 0U);
}

TEST_F(replay_test, less_memory_than_one_block)
{
    for (const std::uint64_t memory : {0U, 1000U, 5000U}) {
        auto limits = tiny(dir);
        limits.memory_per_body = memory;
        limits.block = 16'384;
        limits.write = 32'768;
        spool store(limits);
        const std::string body = random_bytes(200'000, 19);
        most_memory = 0;
        replay log(store, queue.poster());
        ASSERT_TRUE(write(log, body, 1500));
        log.finish();
        EXPECT_LE(most_memory, memory + limits.write + limits.block + 1500) << memory;
        auto reader = log.read_from(0);
        std::string got;
        ASSERT_TRUE(read_all(queue, reader, got));
        EXPECT_EQ(sha256(got), sha256(body)) << memory;
    }
}

TEST_F(replay_test, two_readers_at_different_places_in_different_encodings)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(5000, 6);
    replay log(store, queue.poster(), admit(store, body.size(), copies::wanted));

    const auto copy = piece::copy({0, body.size()});
    const auto encode = piece::encode({0, body.size()});
    struct consumer
    {
        replay::reader from;
        transcoder machine;
        std::string out;
        bool failed = false;
    };
    std::vector<std::unique_ptr<consumer>> consumers;
    consumers.push_back(std::make_unique<consumer>(log.read_from(0), transcoder(copy)));

    const auto pump = [&](std::size_t max) {
        for (auto& each : consumers) {
            if (const auto part = each->from.take(max)) {
                each->failed = each->failed || !each->machine.feed(*part, each->out);
            }
        }
        queue.run_some();
    };
    for (std::size_t at = 0; at < body.size(); at += 100) {
        ASSERT_TRUE(write(log, std::string_view(body).substr(at, 100), 100));
        if (at == 2000) {
            consumers.push_back(std::make_unique<consumer>(log.read_from(0), transcoder(encode))
            ); // a second attempt
        }
        pump(90);
    }
    log.finish();
    ASSERT_TRUE(queue.run_until([&] {
        pump(1000);
        return std::ranges::all_of(consumers, [](const auto& each) {
            return each->from.now() == state::end;
        });
    }));
    for (auto& each : consumers) {
        EXPECT_FALSE(each->failed);
        EXPECT_TRUE(each->machine.finish(each->out));
    }
    EXPECT_EQ(sha256(consumers[0]->out), sha256(body));
    EXPECT_EQ(sha256(consumers[1]->out), sha256(openssl_base64(body)));
}

TEST_F(replay_test, any_number_of_readers_with_any_takes_see_the_same)
{
    spool store(tiny(dir));
    std::mt19937 random(7);
    const auto upto = [&](std::size_t most) { return static_cast<std::size_t>(random() % (most + 1)); };
    for (int round = 0; round < 60; ++round) {
        const std::string body = random_bytes(upto(4000), static_cast<unsigned>(round));
        replay log(
            store,
            queue.poster(),
            round % 3 == 0 ? reservation{}
                           : admit(store, body.size(), round % 3 == 1 ? copies::required : copies::wanted)
        );
        struct consumer
        {
            replay::reader from;
            std::size_t start;
            std::string out;
            int restarts = 2;
        };
        std::vector<consumer> consumers;
        std::size_t at = 0;
        const bool finished = queue.run_until([&] {
            switch (upto(5)) {
            case 0:
            case 1:
                if (log.wants_more()) {
                    const std::size_t step = std::min(upto(200), body.size() - at);
                    log.append(std::string_view(body).substr(at, step));
                    at += step;
                    if (at == body.size()) {
                        log.finish();
                    }
                }
                break;
            case 2:
                if (consumers.size() < 5) {
                    const std::size_t start = upto(log.size());
                    consumers.push_back({log.read_from(start), start, {}, 2}); // moves the others
                }
                break;
            case 3:
                queue.run_some();
                break;
            default:
                if (!consumers.empty()) {
                    auto& one = consumers[upto(consumers.size() - 1)];
                    if (one.restarts > 0 && upto(20) == 0) {
                        --one.restarts; // an attempt that begins again
                        one.from.seek(one.start);
                        one.out.clear();
                    }
                    if (const auto part = one.from.take(1 + upto(150))) {
                        one.out.append(*part);
                    }
                }
            }
            EXPECT_LE(log.in_memory(), 256U + 128U + 200U);
            return log.complete() && consumers.size() == 5 &&
                   std::ranges::all_of(consumers, [](const auto& each) {
                       return each.from.now() == state::end;
                   });
        });
        ASSERT_TRUE(finished) << "round " << round;
        for (const auto& each : consumers) {
            ASSERT_EQ(sha256(each.out), sha256(body.substr(each.start))) << "round " << round;
        }
    }
}

TEST_F(replay_test, the_writer_is_held_back_by_the_disk)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(3000, 8);
    replay log(store, queue.poster(), admit(store, body.size(), copies::required));
    std::size_t at = 0;
    while (log.wants_more()) {
        log.append(std::string_view(body).substr(at, 50));
        at += 50;
    }
    EXPECT_LT(at, 256U + 128U + 100U) << "no completion has run yet";
    bool called = false;
    log.when_wants_more([&] { called = true; });
    EXPECT_FALSE(called);
    EXPECT_TRUE(queue.run_until([&] { return called; }));
    EXPECT_TRUE(log.wants_more());
    bool at_once = false;
    log.when_wants_more([&] { at_once = true; });
    EXPECT_TRUE(at_once);
}

TEST_F(replay_test, without_a_copy_the_slowest_reader_sets_the_pace)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(10'000, 9);
    replay log(store, queue.poster(), admit(store, body.size(), copies::none));
    auto fast = log.read_from(0);
    auto slow = log.read_from(0);
    std::string first;
    std::string second;
    std::size_t at = 0;
    bool wake = true;
    ASSERT_TRUE(queue.run_until([&] {
        if (wake && at < body.size()) {
            wake = false;
            const std::size_t step = std::min<std::size_t>(70, body.size() - at);
            log.append(std::string_view(body).substr(at, step));
            at += step;
            EXPECT_LE(log.in_memory(), 256U + 70U);
            if (at == body.size()) {
                log.finish();
            } else {
                log.when_wants_more([&] { wake = true; });
            }
        }
        while (const auto part = fast.take()) {
            first.append(*part);
        }
        if (const auto part = slow.take(20)) {
            second.append(*part);
        }
        queue.run_some();
        return fast.now() == state::end && slow.now() == state::end;
    }));
    EXPECT_EQ(sha256(first), sha256(body));
    EXPECT_EQ(sha256(second), sha256(body));
    EXPECT_FALSE(log.replayable());
    EXPECT_FALSE(log.spilled());

    auto late = log.read_from(0);
    EXPECT_EQ(late.now(), state::failed);
    ASSERT_NE(late.failed(), nullptr);
    EXPECT_EQ(late.failed()->what, code::internal);
    EXPECT_FALSE(late.take());
}

TEST_F(replay_test, a_reader_that_leaves_frees_the_writer)
{
    spool store(tiny(dir));
    replay log(store, queue.poster(), admit(store, 100'000, copies::none));
    std::optional<replay::reader> stuck(log.read_from(0));
    auto other = log.read_from(0);
    std::size_t got = 0;
    while (log.wants_more()) {
        log.append(random_bytes(64, 1));
    }
    while (const auto part = other.take()) {
        got += part->size();
    }
    bool called = false;
    log.when_wants_more([&] { called = true; });
    queue.run_some();
    EXPECT_FALSE(called) << "one reader has passed nothing";
    stuck.reset();
    EXPECT_TRUE(queue.run_until([&] { return called; }));
    EXPECT_EQ(got, log.size());
}

TEST_F(replay_test, keep_copy_false_in_mid_body)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(4000, 10);
    replay log(store, queue.poster(), admit(store, body.size(), copies::wanted));
    auto reader = log.read_from(0);
    std::string got;
    ASSERT_TRUE(write(log, std::string_view(body).substr(0, 1000), 100));
    ASSERT_TRUE(queue.run_until([&] { return log.spilled(); }));
    EXPECT_GT(store.now().disk, 0U);
    EXPECT_TRUE(log.replayable());

    log.keep_copy(false); // this attempt is the last one
    std::size_t at = 1000;
    ASSERT_TRUE(queue.run_until([&] {
        if (at < body.size() && log.wants_more()) {
            const std::size_t step = std::min<std::size_t>(100, body.size() - at);
            log.append(std::string_view(body).substr(at, step));
            at += step;
        } else if (at == body.size()) {
            log.finish();
        }
        if (const auto part = reader.take()) {
            got.append(*part);
        } else if (reader.now() == state::waiting) {
            reader.when_ready([] {});
        }
        EXPECT_LE(log.in_memory(), 256U + 128U + 100U);
        queue.run_some();
        return reader.now() == state::end;
    }));
    EXPECT_EQ(sha256(got), sha256(body));
    EXPECT_FALSE(log.replayable());
    EXPECT_EQ(store.now().disk, 0U) << "the file went as soon as everybody had passed it";
}

TEST_F(replay_test, keep_copy_false_keeps_what_fits_in_memory)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(200, 11);
    replay log(store, queue.poster(), admit(store, body.size(), copies::wanted));
    log.append(body);
    log.keep_copy(false);
    log.finish();
    auto reader = log.read_from(0);
    EXPECT_EQ(reader.take(), body);
    EXPECT_TRUE(log.replayable()) << "a connection that was closed while idle may still be tried again";
    reader.seek(0);
    EXPECT_EQ(reader.take(), body);
}

TEST_F(replay_test, failing_cuts_every_reader_at_once)
{
    spool store(tiny(dir));
    replay log(store, queue.poster(), admit(store, 5000, copies::wanted));
    ASSERT_TRUE(write(log, random_bytes(1000, 12), 100));
    ASSERT_TRUE(queue.run_until([&] { return log.spilled(); }));
    auto waiting = log.read_from(1000);
    auto behind = log.read_from(0);
    int calls = 0;
    waiting.when_ready([&] { ++calls; });
    behind.when_ready([&] { ++calls; }); // reads the file
    bool told = false;
    while (log.wants_more()) {
        log.append(random_bytes(64, 1));
    }
    calls = 0;
    waiting.seek(log.size());
    waiting.when_ready([&] { ++calls; });
    log.when_wants_more([&] { told = true; });

    log.fail(gone());
    EXPECT_TRUE(told);
    EXPECT_GE(calls, 1);
    for (auto* each : {&waiting, &behind}) {
        EXPECT_EQ(each->now(), state::failed);
        ASSERT_NE(each->failed(), nullptr);
        EXPECT_EQ(each->failed()->what, code::client_gone);
        EXPECT_FALSE(each->take());
    }
    EXPECT_EQ(log.in_memory(), 0U);
    EXPECT_FALSE(log.replayable());
    EXPECT_FALSE(log.wants_more());
    log.append("ignored");
    log.finish();
    EXPECT_FALSE(log.complete());
    EXPECT_EQ(store.now().disk, 0U) << "space is given back at once";
}

TEST_F(replay_test, a_held_view_survives_the_failure)
{
    spool store(tiny(dir));
    replay log(store, queue.poster());
    log.append("still being sent");
    auto reader = log.read_from(0);
    const auto seen = reader.take();
    log.fail(gone());
    EXPECT_EQ(seen, "still being sent");
}

TEST_F(replay_test, disk_that_runs_out_while_a_body_must_be_whole)
{
    auto limits = tiny(dir);
    limits.disk = 500;
    spool store(limits);
    replay log(store, queue.poster()); // size unknown
    EXPECT_FALSE(write(log, random_bytes(3000, 13), 64));
    ASSERT_NE(log.failed(), nullptr);
    EXPECT_EQ(log.failed()->what, code::overloaded);
    EXPECT_THAT(log.failed()->detail, ::testing::HasSubstr("no disk"));
    EXPECT_EQ(store.now().refused, 1U);
    EXPECT_EQ(store.now().disk, 0U);
}

TEST_F(replay_test, memory_that_runs_out)
{
    auto limits = tiny(dir);
    limits.memory = 100;
    spool store(limits);
    replay log(store, queue.poster());
    log.append(std::string(64, 'x'));
    EXPECT_EQ(log.failed(), nullptr);
    log.append(std::string(64, 'x'));
    ASSERT_NE(log.failed(), nullptr);
    EXPECT_EQ(log.failed()->what, code::overloaded);
    EXPECT_EQ(store.now().memory, 0U);
}

TEST_F(replay_test, a_folder_that_cannot_be_written_means_no_copy)
{
    auto limits = tiny(dir);
    limits.dir = dir.path() + "/absent";
    spool store(limits);
    const std::string body = random_bytes(5000, 14);
    replay log(store, queue.poster(), admit(store, body.size(), copies::wanted));
    auto reader = log.read_from(0);
    std::string got;
    std::size_t at = 0;
    ASSERT_TRUE(queue.run_until([&] {
        if (log.wants_more() && at < body.size()) {
            log.append(std::string_view(body).substr(at, 50));
            at += 50;
        } else if (at == body.size()) {
            log.finish();
        } else {
            queue.run_some();
        }
        if (at > 200) {
            if (const auto part = reader.take()) {
                got.append(*part);
            }
        }
        return reader.now() == state::end;
    }));
    EXPECT_EQ(sha256(got), sha256(body));
    EXPECT_FALSE(log.replayable());
    EXPECT_EQ(log.failed(), nullptr);
    EXPECT_EQ(store.now().without_copy, 1U);
    EXPECT_EQ(store.now().io_errors, 1U);
}

TEST_F(replay_test, a_folder_that_cannot_be_written_and_a_body_that_must_be_whole)
{
    auto limits = tiny(dir);
    limits.dir = "/dev/null";
    spool store(limits);
    replay log(store, queue.poster(), admit(store, 5000, copies::required));
    EXPECT_FALSE(write(log, random_bytes(5000, 15), 50));
    ASSERT_NE(log.failed(), nullptr);
    EXPECT_EQ(log.failed()->what, code::overloaded);
    EXPECT_THAT(log.failed()->detail, ::testing::HasSubstr("Not a directory"));
    EXPECT_THAT(log.failed()->text, ::testing::Not(::testing::HasSubstr("/dev/null")))
        << "paths are not for clients";
}

// A file that can hold only so much, as a full disk would.
class file_size_limit
{
public:
    explicit file_size_limit(rlim_t most)
    {
        before_signal_ = std::signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit now{.rlim_cur = most, .rlim_max = before_.rlim_max};
        EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &now), 0);
    }
    ~file_size_limit()
    {
        setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, before_signal_);
    }
    file_size_limit(const file_size_limit&) = delete;
    file_size_limit& operator=(const file_size_limit&) = delete;

private:
    rlimit before_{};
    void (*before_signal_)(int) = nullptr;
};

TEST_F(replay_test, a_disk_that_fills_up_in_mid_body_loses_nothing_for_who_reads_on)
{
    for (const rlim_t room : {100U, 128U, 200U, 256U, 1000U}) {
        spool store(tiny(dir));
        const std::string body = random_bytes(5000, 16);
        replay log(store, queue.poster(), admit(store, body.size(), copies::wanted));
        auto reader = log.read_from(0);
        std::string got;
        std::size_t at = 0;
        const file_size_limit full(room);
        ASSERT_TRUE(queue.run_until([&] {
            if (log.wants_more() && at < body.size()) {
                log.append(std::string_view(body).substr(at, 50));
                at += 50;
            } else if (at == body.size()) {
                log.finish();
            } else {
                queue.run_some();
                if (const auto part = reader.take(30)) { // the slow one: it is behind, in the file
                    got.append(*part);
                }
            }
            if (log.complete()) {
                queue.run_some();
                if (const auto part = reader.take()) {
                    got.append(*part);
                }
            }
            return reader.now() == state::end || reader.now() == state::failed;
        })) << room;
        EXPECT_EQ(reader.now(), state::end) << room;
        EXPECT_EQ(sha256(got), sha256(body)) << room;
        EXPECT_FALSE(log.replayable());
        EXPECT_EQ(store.now().io_errors, 1U);
        EXPECT_EQ(store.now().without_copy, 1U);
    }
}

TEST_F(replay_test, completions_after_the_end_are_harmless)
{
    spool store(tiny(dir));
    for (int round = 0; round < 50; ++round) {
        auto log = std::make_unique<replay>(store, queue.poster(), admit(store, 5000, copies::wanted));
        std::optional<replay::reader> reader(log->read_from(0));
        while (log->wants_more()) {
            log->append(random_bytes(64, 1));
        }
        if (round % 2 == 0) {
            ASSERT_TRUE(queue.run_until([&] { return log->spilled(); }));
            bool called = false;
            reader->when_ready([&] { called = true; }); // a read is on its way, or memory had it
        }
        if (round % 3 == 0) {
            log.reset(); // the reader is left over
            EXPECT_EQ(reader->now(), state::failed);
            EXPECT_FALSE(reader->take());
            ASSERT_NE(reader->failed(), nullptr);
            EXPECT_EQ(reader->failed()->what, code::internal);
        } else {
            reader.reset();
            log.reset();
        }
    }
    EXPECT_TRUE(queue.run_until([&] { return store.now().disk == 0 && store.now().memory == 0; }));
    while (queue.run_some()) {
    }
}

TEST_F(replay_test, a_callback_may_end_everything)
{
    spool store(tiny(dir));
    auto log = std::make_unique<replay>(store, queue.poster());
    std::optional<replay::reader> first(log->read_from(0));
    std::optional<replay::reader> second(log->read_from(0));
    int calls = 0;
    const auto end = [&] {
        ++calls;
        first.reset();
        second.reset();
        log.reset();
    };
    first->when_ready(end);
    second->when_ready(end);
    log->append("x");
    EXPECT_EQ(calls, 1) << "the other one was gone";
    EXPECT_EQ(log, nullptr);
}

TEST_F(replay_test, a_callback_may_write_and_read)
{
    spool store(tiny(dir));
    replay log(store, queue.poster());
    auto echo = log.read_from(0);
    auto other = log.read_from(0);
    std::string seen;
    std::function<void()> on = [&] {
        while (const auto part = echo.take()) {
            seen.append(*part);
        }
        if (seen.size() < 5) {
            log.append("+");
        }
        echo.when_ready([&] { on(); });
    };
    echo.when_ready([&] { on(); });
    log.append("a");
    EXPECT_EQ(seen, "a++++");
    EXPECT_EQ(other.take(), "a++++");
    echo.when_ready({});
}

TEST_F(replay_test, seeking_while_a_read_is_on_its_way)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(3000, 17);
    replay log(store, queue.poster(), admit(store, body.size(), copies::required));
    ASSERT_TRUE(write(log, body, 100));
    log.finish();
    auto reader = log.read_from(0);
    EXPECT_FALSE(reader.take()); // asks for the beginning
    reader.seek(1000);
    EXPECT_FALSE(reader.take()); // asks for another place before that came
    bool called = false;
    reader.when_ready([&] { called = true; });
    ASSERT_TRUE(queue.run_until([&] { return called; }));
    const auto part = reader.take();
    ASSERT_TRUE(part);
    EXPECT_EQ(*part, std::string_view(body).substr(1000, part->size()));
    reader.seek(body.size() - 3);
    EXPECT_EQ(reader.take(), std::string_view(body).substr(body.size() - 3));
    reader.seek(body.size() + 10);
    EXPECT_EQ(reader.now(), state::end);
    reader.seek(5);
    std::string got;
    ASSERT_TRUE(read_all(queue, reader, got));
    EXPECT_EQ(sha256(got), sha256(body.substr(5)));
}

TEST_F(replay_test, copies_of_ranges)
{
    spool store(tiny(dir));
    const std::string body = random_bytes(2000, 18);
    replay log(store, queue.poster(), admit(store, body.size(), copies::required));
    ASSERT_TRUE(write(log, body, 100));
    log.finish();
    ASSERT_TRUE(queue.run_until([&] { return !log.view({0, 1}); }));
    EXPECT_FALSE(log.copy({0, 100})) << "that is in the file";
    EXPECT_EQ(log.copy({1900, 2000}), body.substr(1900))
        << "the newest bytes are in memory, over block edges";
    EXPECT_EQ(log.copy({7, 7}), "");
    EXPECT_FALSE(log.copy({1900, 2001}));
    EXPECT_FALSE(log.copy({10, 9}));
}

TEST_F(replay_test, many_bodies_at_once)
{
    spool store(tiny(dir));
    struct one
    {
        std::string body;
        std::unique_ptr<replay> log;
        std::optional<replay::reader> reader;
        std::string got;
        std::size_t at = 0;
    };
    std::vector<one> all(30);
    for (std::size_t each = 0; each < all.size(); ++each) {
        all[each].body = random_bytes(each * 97, static_cast<unsigned>(each));
        all[each].log = std::make_unique<replay>(
            store, queue.poster(), admit(store, all[each].body.size(), copies::wanted)
        );
        all[each].reader.emplace(all[each].log->read_from(0));
    }
    ASSERT_TRUE(queue.run_until([&] {
        bool all_done = true;
        for (auto& each : all) {
            if (each.log->wants_more() && each.at < each.body.size()) {
                each.log->append(std::string_view(each.body).substr(each.at, 90));
                each.at += 90;
            } else if (each.at >= each.body.size()) {
                each.log->finish();
            }
            if (each.log->size() > 600 || each.log->complete()) {
                if (const auto part = each.reader->take(50)) {
                    each.got.append(*part);
                }
            }
            all_done = all_done && each.reader->now() == state::end;
        }
        queue.run_some();
        return all_done;
    }));
    for (const auto& each : all) {
        EXPECT_EQ(sha256(each.got), sha256(each.body));
    }
}

} // namespace
} // namespace gw::payloads
