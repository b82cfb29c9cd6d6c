#include "support.hpp"

#include <gmock/gmock.h>

#include <signal.h>

#include <atomic>

namespace gw::workers {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using testing::HasSubstr;
using testing::SizeIs;

class stop : public process_test
{
};

TEST_F(stop, idling_counts_from_the_end_of_the_last_request)
{
    config::upstream to = scripted(mark);
    to.run->idle_stop = 400ms;
    ASSERT_TRUE(ensured(workers, to));
    lease held = workers.use(to, "org/m");
    ASSERT_TRUE(held);
    const clock::time_point begun = clock::now();
    EXPECT_TRUE(eventually([&] { return clock::now() - begun > 1s || status_of(workers).state != "ready"; }));
    EXPECT_EQ(status_of(workers).state, "ready") << "stopped under a request";

    const clock::time_point end = clock::now();
    held.give_back();
    EXPECT_TRUE(eventually([&] { return status_of(workers).state == "stopped"; }));
    EXPECT_GE(clock::now() - end, 400ms);
    EXPECT_EQ(status_of(workers).last_end, "exited with status 0");
    EXPECT_EQ(status_of(workers).crashes, 0U);
    EXPECT_TRUE(log.has("unused for 1 s"));
    EXPECT_FALSE(workers.use(to, "org/m"));

    const result<ready_worker> again = ensured(workers, to);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->generation, 2U);
}

TEST_F(stop, one_that_ignores_sigterm_is_killed)
{
    config::upstream to = scripted(mark, {"--ignore-term"});
    to.run->stop_timeout = 300ms;
    ASSERT_TRUE(ensured(workers, to));
    const pid_t pid = status_of(workers).pid;
    const clock::time_point begun = clock::now();
    workers.stop();
    EXPECT_GE(clock::now() - begun, 300ms);
    EXPECT_TRUE(is_gone(pid));
    EXPECT_THAT(marked(mark, "term"), SizeIs(1));
    EXPECT_THAT(status_of(workers).last_end, HasSubstr("killed by signal 9"));
}

TEST_F(stop, one_that_obeys_is_not_waited_for)
{
    ASSERT_TRUE(ensured(workers, scripted(mark)));
    ASSERT_TRUE(ensured(workers, scripted(mark, {}, "there")));
    const clock::time_point begun = clock::now();
    workers.stop();
    EXPECT_LT(clock::now() - begun, 9s) << "stop_timeout is 10 s";
    EXPECT_EQ(status_of(workers, "here").last_end, "exited with status 0");
    EXPECT_EQ(status_of(workers, "there").last_end, "exited with status 0");
    workers.stop(); // again: nothing
}

TEST_F(stop, those_who_wait_are_told)
{
    std::atomic<int> refused{0};
    const config::upstream to = scripted(mark, {"--health", "503"});
    workers.ensure(to, "org/m", [&](const result<ready_worker>& what) { refused += what ? 0 : 1; });
    ASSERT_TRUE(eventually([&] { return !marked(mark, "start").empty(); }));
    workers.stop();
    EXPECT_EQ(refused, 1);
    const result<ready_worker> late = ensured(workers, to);
    ASSERT_FALSE(late);
    EXPECT_THAT(late.error().text, HasSubstr("the gateway is stopping"));
}

TEST_F(stop, what_a_worker_leaves_behind_goes_with_it)
{
    ASSERT_TRUE(ensured(workers, scripted(mark, {"--child", "--daemon"})));
    const pid_t child = std::stoi(marked(mark, "child").at(0));
    const pid_t stray = std::stoi(marked(mark, "daemon").at(0));
    EXPECT_FALSE(is_gone(child));
    EXPECT_FALSE(is_gone(stray));
    workers.stop();
    EXPECT_TRUE(is_gone(child));
    EXPECT_TRUE(is_gone(stray));
}

TEST_F(stop, a_lease_may_outlive_the_supervisor)
{
    lease held;
    {
        supervisor brief(log.writer(), own_executable);
        const config::upstream to = scripted(mark);
        ASSERT_TRUE(ensured(brief, to));
        held = brief.use(to, "org/m");
        ASSERT_TRUE(held);
    }
    held.give_back();
    EXPECT_FALSE(held);
}

TEST_F(stop, after_a_crash_the_next_request_starts_another)
{
    const config::upstream to = scripted(mark, {"--child"});
    const result<ready_worker> first = ensured(workers, to);
    ASSERT_TRUE(first);
    const lease held = workers.use(to, "org/m");
    EXPECT_FALSE(get(first->port, "/crash"));
    EXPECT_TRUE(eventually([&] { return !workers.ready(to, "org/m"); }));
    EXPECT_TRUE(eventually([&] { return status_of(workers).state == "stopped"; }));
    EXPECT_EQ(status_of(workers).last_end, "exited with status 7");
    EXPECT_EQ(status_of(workers).crashes, 1U);
    EXPECT_TRUE(is_gone(std::stoi(marked(mark, "child").at(0)))) << "the rest of its group";

    const result<ready_worker> second = ensured(workers, to);
    ASSERT_TRUE(second);
    EXPECT_GT(second->generation, first->generation);
    EXPECT_TRUE(get(second->port, "/health"));
}

TEST_F(stop, a_kill_from_outside_is_recorded)
{
    const config::upstream to = scripted(mark);
    ASSERT_TRUE(ensured(workers, to));
    ASSERT_EQ(::kill(status_of(workers).pid, SIGKILL), 0);
    EXPECT_TRUE(eventually([&] { return status_of(workers).state == "stopped"; }));
    EXPECT_THAT(status_of(workers).last_end, HasSubstr("killed by signal 9"));
    EXPECT_TRUE(ensured(workers, to));
}

TEST_F(stop, a_worker_dies_with_its_launcher)
{
    const config::upstream to = scripted(mark, {"--child"});
    ASSERT_TRUE(ensured(workers, to));
    const pid_t pid = status_of(workers).pid;
    const pid_t child = std::stoi(marked(mark, "child").at(0));
    ASSERT_EQ(::kill(parent_of(pid), SIGKILL), 0);
    EXPECT_TRUE(eventually([&] {
        return status_of(workers).state == "stopped" && is_gone(pid) && is_gone(child);
    }));
    EXPECT_THAT(status_of(workers).last_end, HasSubstr("its launcher was killed by signal 9"));
    EXPECT_TRUE(ensured(workers, to));
}

TEST_F(stop, a_lost_one_that_no_longer_listens_is_replaced)
{
    const config::upstream to = scripted(mark);
    const result<ready_worker> first = ensured(workers, to);
    ASSERT_TRUE(first);
    EXPECT_TRUE(get(first->port, "/deaf"));
    EXPECT_TRUE(eventually([&] { return !get(first->port, "/health"); }));
    EXPECT_TRUE(workers.ready(to, "org/m")) << "nobody has told";
    workers.lost(to, "org/m", first->generation + 1); // another one: nothing
    workers.lost(to, "org/m", first->generation);
    workers.lost(to, "org/m", first->generation);
    EXPECT_TRUE(eventually([&] { return !workers.ready(to, "org/m"); }));
    const result<ready_worker> second = ensured(workers, to);
    ASSERT_TRUE(second);
    EXPECT_GT(second->generation, first->generation);
    EXPECT_EQ(status_of(workers).crashes, 1U);
    EXPECT_TRUE(log.has("no longer listens on port"));
}

TEST_F(stop, a_lost_one_that_is_well_stays)
{
    const config::upstream to = scripted(mark);
    const result<ready_worker> first = ensured(workers, to);
    ASSERT_TRUE(first);
    for (int time = 0; time < 2; ++time) {
        const std::size_t asked = marked(mark, "health").size();
        EXPECT_TRUE(eventually([&] {
            workers.lost(to, "org/m", first->generation); // one that is being asked is not asked twice
            return marked(mark, "health").size() > asked;
        }));
    }
    EXPECT_EQ(workers.ready(to, "org/m"), *first);
}

TEST_F(stop, a_lost_one_that_stays_silent_is_replaced)
{
    supervisor hasty(log.writer(), own_executable, {.answer = 100ms, .silence = 500ms});
    const config::upstream to = scripted(mark);
    const result<ready_worker> first = ensured(hasty, to);
    ASSERT_TRUE(first);
    const pid_t pid = status_of(hasty).pid;
    ASSERT_EQ(::kill(pid, SIGSTOP), 0);
    hasty.lost(to, "org/m", first->generation);
    EXPECT_TRUE(eventually([&] { return is_gone(pid) && status_of(hasty).state == "stopped"; }));
    EXPECT_THAT(status_of(hasty).last_end, testing::EndsWith("it was stopped and exited with status 0"))
        << "a stopped process must be woken to see SIGTERM";
    EXPECT_TRUE(log.has("has not been well for 1 s: GET /health did not answer"));
    EXPECT_TRUE(ensured(hasty, to));
}

TEST_F(stop, one_that_answers_garbage_is_replaced_at_once)
{
    const config::upstream to = scripted(mark);
    const result<ready_worker> first = ensured(workers, to);
    ASSERT_TRUE(first);
    workers.replace(to, "org/m", first->generation + 1, "nobody");
    workers.replace(to, "org/m", first->generation, "answered without end");
    EXPECT_TRUE(eventually([&] { return !workers.ready(to, "org/m"); }));
    const result<ready_worker> second = ensured(workers, to);
    ASSERT_TRUE(second);
    EXPECT_GT(second->generation, first->generation);
    EXPECT_TRUE(log.has("worker is replaced: it answered without end"));
    EXPECT_FALSE(log.has("nobody"));
}

} // namespace
} // namespace gw::workers
