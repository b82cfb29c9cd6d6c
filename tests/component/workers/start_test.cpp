#include "support.hpp"

#include "workers/spawn.hpp"

#include <gmock/gmock.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <fstream>
#include <thread>

namespace gw::workers {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class start : public process_test
{
};

TEST_F(start, many_who_want_it_start_it_once)
{
    const config::upstream to = scripted(mark);
    constexpr int threads = 8;
    constexpr int each = 25;
    std::atomic<int> good{0};
    std::atomic<int> bad{0};
    std::vector<std::thread> crowd;
    for (int number = 0; number < threads; ++number) {
        crowd.emplace_back([&] {
            for (int call = 0; call < each; ++call) {
                workers.ensure(to, "org/m", [&](const result<ready_worker>& what) {
                    ++(what && what->generation == 1 ? good : bad);
                });
            }
        });
    }
    for (std::thread& one : crowd) {
        one.join();
    }
    EXPECT_TRUE(eventually([&] { return good + bad == threads * each; }));
    EXPECT_EQ(bad, 0);
    EXPECT_THAT(marked(mark, "start"), SizeIs(1));
    EXPECT_EQ(status_of(workers).starts, 1U);
}

TEST_F(start, it_listens_on_the_port_that_it_was_given)
{
    const config::upstream to = scripted(mark);
    EXPECT_FALSE(workers.ready(to, "org/m"));
    EXPECT_FALSE(workers.use(to, "org/m"));
    const result<ready_worker> got = ensured(workers, to);
    ASSERT_TRUE(got) << got.error().text;
    EXPECT_EQ(workers.ready(to, "org/m"), *got);
    EXPECT_FALSE(workers.ready(to, "org/other"));
    EXPECT_THAT(
        get(got->port, "/argv").value_or(""),
        HasSubstr("\"--port\", \"" + std::to_string(got->port) + "\", \"--model\", \"org/m\"")
    );

    const lease held = workers.use(to, "org/m");
    ASSERT_TRUE(held);
    EXPECT_EQ(held.where(), *got);
    const worker_status now = status_of(workers);
    EXPECT_EQ(now.state, "ready");
    EXPECT_EQ(now.model, "org/m");
    EXPECT_EQ(now.port, got->port);
    EXPECT_EQ(now.in_flight, 1U);
    EXPECT_THAT(marked(mark, "start").at(0), testing::StartsWith(std::to_string(now.pid) + " "));
    EXPECT_TRUE(log.has("worker is ready"));
}

TEST_F(start, each_model_has_a_process_of_its_own)
{
    const config::upstream to = scripted(mark);
    const result<ready_worker> one = ensured(workers, to, "org/one");
    const result<ready_worker> two = ensured(workers, to, "org/two");
    ASSERT_TRUE(one && two);
    EXPECT_NE(one->port, two->port);
    EXPECT_THAT(workers.snapshot(), SizeIs(2));
    EXPECT_THAT(get(two->port, "/argv").value_or(""), HasSubstr("org/two"));
}

TEST_F(start, one_that_exits_fails_at_once_with_its_last_lines)
{
    std::vector<std::string> flags{"--exit", "3"};
    for (int line = 1; line <= 25; ++line) {
        flags.insert(flags.end(), {"--print", "reason " + std::to_string(line)});
    }
    const result<ready_worker> got = ensured(workers, scripted(mark, flags));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().what, code::unavailable);
    EXPECT_EQ(got.error().http_status(), 502);
    EXPECT_EQ(got.error().from, origin::upstream);
    EXPECT_EQ(got.error().again, retry::safe);
    EXPECT_THAT(
        got.error().text, HasSubstr("worker 'here' of model 'org/m' exited with status 3 while starting")
    );
    EXPECT_THAT(got.error().text, HasSubstr("GET /workers"));
    EXPECT_THAT(got.error().text, Not(HasSubstr("reason")))
        << "a worker's words may hold paths: they are for the log";
    EXPECT_THAT(got.error().detail, testing::StartsWith("reason 6\n"));
    EXPECT_THAT(got.error().detail, EndsWith("reason 25"));

    const worker_status now = status_of(workers);
    EXPECT_EQ(now.state, "stopped");
    EXPECT_EQ(now.crashes, 1U);
    EXPECT_EQ(now.pid, 0);
    EXPECT_EQ(now.last_end, "exited with status 3");
    EXPECT_THAT(now.last_lines, SizeIs(20));
    int lines = 0;
    for (const logged_line& each : log.all()) {
        lines += each.field("from") == "worker" && each.field("worker") == "here" &&
                         each.text.starts_with("reason ")
                     ? 1
                     : 0;
    }
    EXPECT_EQ(lines, 25) << "the log has all of them";
    EXPECT_TRUE(log.has("exited with status 3 while starting"));
}

TEST_F(start, the_next_start_after_a_crash_rests_before)
{
    const config::upstream to = scripted(mark, {"--exit", "1"});
    for (int call = 0; call < 3; ++call) {
        EXPECT_FALSE(ensured(workers, to));
    }
    std::vector<long> at;
    for (const std::string& each : marked(mark, "start")) {
        at.push_back(std::stol(each.substr(each.rfind(' ') + 1)));
    }
    ASSERT_THAT(at, SizeIs(3));
    EXPECT_GE(at[1] - at[0], 100);
    EXPECT_GE(at[2] - at[1], 200);
}

TEST_F(start, five_crashes_mark_it_down_and_the_failure_says_so)
{
    config::upstream to = scripted(mark);
    to.run->command = {"/bin/false"};
    for (int call = 0; call < 5; ++call) {
        const result<ready_worker> got = ensured(workers, to);
        ASSERT_FALSE(got);
        EXPECT_THAT(got.error().text, HasSubstr("exited with status 1 while starting"));
    }
    const result<ready_worker> got = ensured(workers, to);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().what, code::unavailable);
    EXPECT_THAT(got.error().text, HasSubstr("is marked down for another"));
    ASSERT_TRUE(got.error().retry_after);
    EXPECT_GT(*got.error().retry_after, 50s);
    EXPECT_EQ(status_of(workers).state, "down");
    EXPECT_EQ(status_of(workers).starts, 5U);
}

TEST_F(start, what_cannot_be_run_says_why)
{
    config::upstream to = scripted(mark);
    to.run->command = {"no-such-program", "$port"};
    to.run->env = {{"PATH", "/usr/bin:/bin"}};
    const result<ready_worker> got = ensured(workers, to);
    ASSERT_FALSE(got);
    EXPECT_THAT(
        got.error().text,
        HasSubstr("could not be started: cannot run no-such-program: No such file or directory")
    );
    EXPECT_THAT(status_of(workers).last_lines, ElementsAre(HasSubstr("cannot run no-such-program")));

    config::upstream elsewhere = scripted(mark, {}, "elsewhere");
    elsewhere.run->directory = folder.file("missing");
    const result<ready_worker> lost = ensured(workers, elsewhere);
    ASSERT_FALSE(lost);
    EXPECT_THAT(
        lost.error().text, HasSubstr("in " + folder.file("missing") + ": the directory: No such file")
    );

    supervisor broken(log.writer(), folder.file("no-gateway"));
    const result<ready_worker> none = ensured(broken, scripted(mark));
    ASSERT_FALSE(none);
    EXPECT_THAT(none.error().text, HasSubstr("could not be started"));
}

TEST_F(start, one_that_is_never_ready_is_given_up)
{
    config::upstream to = scripted(mark, {"--health", "503"});
    to.run->start_timeout = 1500ms;
    const result<ready_worker> got = ensured(workers, to);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().what, code::unavailable);
    EXPECT_THAT(got.error().text, HasSubstr("was not ready after 2 s: GET /health answered 503"));
    EXPECT_EQ(status_of(workers).crashes, 1U);
    const pid_t pid = std::stoi(marked(mark, "start").at(0));
    EXPECT_TRUE(eventually([&] { return is_gone(pid) && status_of(workers).state == "stopped"; }));
    EXPECT_EQ(
        status_of(workers).last_end,
        "was not ready after 2 s: GET /health answered 503; it was stopped and exited with status 0"
    );
}

TEST_F(start, it_is_not_ready_before_it_says_so)
{
    const config::upstream to = scripted(mark, {"--healthy-when", folder.file("warm")});
    std::atomic<bool> told{false};
    workers.ensure(to, "org/m", [&](const result<ready_worker>& what) { told = what.has_value(); });
    EXPECT_TRUE(eventually([&] { return marked(mark, "health").size() >= 2; }));
    EXPECT_FALSE(told);
    EXPECT_FALSE(workers.use(to, "org/m"));
    EXPECT_EQ(status_of(workers).state, "starting");
    std::ofstream(folder.file("warm")).flush();
    EXPECT_TRUE(eventually([&] { return told.load(); }));
    EXPECT_TRUE(workers.use(to, "org/m"));
}

TEST_F(start, no_more_may_wait_than_the_policy_says)
{
    config::upstream to = scripted(mark, {"--healthy-when", folder.file("warm")});
    to.max_waiting = 2;
    std::atomic<int> good{0};
    for (int call = 0; call < 2; ++call) {
        workers.ensure(to, "org/m", [&](const result<ready_worker>& what) { good += what ? 1 : 0; });
    }
    const result<ready_worker> refused = ensured(workers, to);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().what, code::warming);
    EXPECT_EQ(refused.error().retry_after, 1s);
    std::ofstream(folder.file("warm")).flush();
    EXPECT_TRUE(eventually([&] { return good == 2; }));
}

TEST_F(start, a_port_that_somebody_took_is_no_fault_of_the_worker)
{
    const config::upstream to = scripted(mark, {"--wait-for", folder.file("go")});
    std::atomic<std::uint16_t> port{0};
    workers.ensure(to, "org/m", [&](const result<ready_worker>& what) {
        port = what ? what->port : std::uint16_t{1};
    });
    ASSERT_TRUE(eventually([&] { return !marked(mark, "start").empty(); }));
    const auto first = static_cast<std::uint16_t>(status_of(workers).port);
    const descriptor thief(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(first);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(thief.get(), reinterpret_cast<const sockaddr*>(&at), sizeof(at)), 0);
    ASSERT_EQ(::listen(thief.get(), 8), 0);
    EXPECT_TRUE(port_taken(first));

    std::ofstream(folder.file("go")).flush();
    EXPECT_TRUE(eventually([&] { return port != 0; }));
    EXPECT_GT(port, 1);
    EXPECT_NE(port, first);
    EXPECT_EQ(status_of(workers).starts, 2U);
    EXPECT_EQ(status_of(workers).crashes, 0U);
    EXPECT_TRUE(log.has("somebody else has its port"));
}

TEST_F(start, its_output_is_logged_clean_and_without_its_token)
{
    const config::token token{.name = "acme", .value = config::secret("hf_CANARY_1"), .hash = 1};
    config::upstream to =
        scripted(mark, {"--print-noise", "--print-env", "HF_TOKEN", "--print", "see hf_CANARY_1!"});
    to.tokens = {&token};
    to.run->env = {{"HF_TOKEN", "$token"}};
    ASSERT_TRUE(ensured(workers, to));
    const worker_status now = status_of(workers);
    EXPECT_THAT(
        now.last_lines,
        ElementsAre(
            "see ***!",
            "***",
            "\xEF\xBF\xBD\xEF\xBF\xBD noise red",
            std::string(2000, 'x') + " [cut]",
            "after"
        )
    );
    for (const logged_line& each : log.all()) {
        EXPECT_THAT(each.text, Not(HasSubstr("CANARY")));
    }
}

TEST_F(start, a_worker_that_floods_the_log_is_cut)
{
    ASSERT_TRUE(ensured(workers, scripted(mark, {"--print-many", "20000"})));
    EXPECT_TRUE(eventually([&] { return status_of(workers).last_lines.back() == "line 19999"; }));
    EXPECT_THAT(status_of(workers).last_lines, SizeIs(20));
    workers.stop();
    std::size_t lines = 0;
    for (const logged_line& each : log.all()) {
        lines += each.field("from") == "worker" ? 1U : 0U;
    }
    EXPECT_GE(lines, 500U);
    EXPECT_LT(lines, 15'000U);
    EXPECT_TRUE(log.has("lines were not logged"));
}

} // namespace
} // namespace gw::workers
