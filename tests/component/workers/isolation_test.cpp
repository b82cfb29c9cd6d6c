#include "support.hpp"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace gw::workers {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSubsetOf;
using testing::Not;
using testing::UnorderedElementsAreArray;

std::string proc(pid_t pid, const char* what)
{
    return contents("/proc/" + std::to_string(pid) + "/" + what);
}

class isolation : public process_test
{
};

TEST_F(isolation, its_environment_holds_six_names_and_what_the_policy_adds)
{
    ::setenv("GW_SECRET", "hf_CANARY_2", 1);
    ::setenv("LC_ALL", "C.UTF-8", 1);
    ::setenv("HF_TOKEN", "hf_CANARY_3", 1);
    const config::token token{.name = "acme", .value = config::secret("hf_mine"), .hash = 1};
    config::upstream to = scripted(mark);
    to.tokens = {&token};
    to.run->env = {{"HF_TOKEN", "$token"}, {"HF_HOME", "/var/cache/hf"}};
    std::vector<std::string> expected{"HF_TOKEN=hf_mine", "HF_HOME=/var/cache/hf"};
    for (const char* name : {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"}) {
        if (const char* value = std::getenv(name)) {
            expected.push_back(std::string(name) + "=" + value);
        }
    }

    supervisor other(log.writer(), own_executable);
    ASSERT_TRUE(ensured(other, to));
    const pid_t pid = status_of(other).pid;
    EXPECT_THAT(split_at_nul(proc(pid, "environ")), UnorderedElementsAreArray(expected));
    for (const pid_t each : {pid, parent_of(pid)}) {
        EXPECT_THAT(proc(each, "environ"), Not(HasSubstr("CANARY")));
        EXPECT_THAT(proc(each, "cmdline"), Not(HasSubstr("hf_mine")));
    }

    // Without $token it has none.
    ASSERT_TRUE(ensured(other, scripted(mark, {}, "plain")));
    EXPECT_THAT(proc(status_of(other, "plain").pid, "environ"), Not(HasSubstr("HF_")));
    ::unsetenv("GW_SECRET");
    ::unsetenv("HF_TOKEN");
}

TEST_F(isolation, it_has_no_descriptor_of_the_gateway)
{
    std::vector<int> careless; // without CLOEXEC, as a library might leave them
    for (int count = 0; count < 20; ++count) {
        careless.push_back(::open("/dev/zero", O_RDONLY));
    }
    ASSERT_TRUE(ensured(workers, scripted(mark)));
    ASSERT_TRUE(ensured(workers, scripted(folder.file("second"), {}, "second")));
    EXPECT_THAT(marked(mark, "fds"), ElementsAre("0,1,2"));
    EXPECT_THAT(marked(folder.file("second"), "fds"), ElementsAre("0,1,2"));
    const std::string own = "/proc/" + std::to_string(status_of(workers).pid) + "/fd/";
    EXPECT_EQ(std::filesystem::read_symlink(own + "0"), "/dev/null");

    // The launcher's: three of its own, the gateway's socket, its signals and the pipe that told of exec.
    const pid_t launcher = parent_of(status_of(workers, "second").pid);
    std::vector<std::string> kinds;
    for (const auto& each :
         std::filesystem::directory_iterator("/proc/" + std::to_string(launcher) + "/fd")) {
        const std::string link = std::filesystem::read_symlink(each.path());
        kinds.push_back(link.substr(0, link.find(":[")));
    }
    EXPECT_THAT(kinds, Not(Contains("/dev/zero")));
    EXPECT_THAT(
        kinds,
        IsSubsetOf(
            {"/dev/null", "/dev/null", "/dev/null", "socket", "pipe", "anon_inode", "anon_inode:[signalfd]"}
        )
    );
    for (const int each : careless) {
        ::close(each);
    }
}

TEST_F(isolation, a_model_is_one_argument_and_no_shell_sees_it)
{
    const config::upstream to = scripted(mark);
    const std::string pwn = folder.file("pwn");
    for (const std::string& model :
         {"; touch " + pwn,
          "$(touch " + pwn + ")",
          "`touch " + pwn + "`",
          std::string("a\n'\"\\ b"),
          std::string("*")}) {
        const result<ready_worker> got = ensured(workers, to, model);
        ASSERT_TRUE(got) << got.error().text;
        pid_t pid = 0;
        for (const worker_status& each : workers.snapshot()) {
            pid = each.model == model ? each.pid : pid;
        }
        const std::vector<std::string> arguments = split_at_nul(proc(pid, "cmdline"));
        ASSERT_EQ(arguments.size(), 8U);
        EXPECT_EQ(arguments[5], model);
        EXPECT_EQ(arguments[3], std::to_string(got->port));
    }
    EXPECT_FALSE(std::filesystem::exists(pwn));

    // One that looks like a flag is the worker's to refuse: it gets it whole, in its place.
    const result<ready_worker> got = ensured(workers, to, "--flag");
    ASSERT_FALSE(got);
    EXPECT_THAT(got.error().detail, HasSubstr("argument --model: expected one argument"));
}

TEST_F(isolation, it_leads_a_session_of_its_own_and_dumps_no_core)
{
    ASSERT_TRUE(ensured(workers, scripted(mark)));
    const pid_t pid = status_of(workers).pid;
    EXPECT_EQ(::getsid(pid), pid);
    EXPECT_EQ(::getpgid(pid), pid);
    EXPECT_NE(::getsid(parent_of(pid)), ::getsid(0));
    EXPECT_THAT(proc(pid, "limits"), testing::ContainsRegex("Max core file size +0 +0"));
    EXPECT_EQ(
        std::stoi(proc(pid, "oom_score_adj")),
        std::min(1000, std::stoi(proc(::getpid(), "oom_score_adj")) + 300)
    );
}

// Kills a gateway of its own the hard way, and tells the worker that it had.
pid_t kill_a_gateway(
    const std::string& mark, std::vector<std::string> flags, const std::function<bool()>& when
)
{
    flags.insert(flags.begin(), {"gateway", "--as-gateway", mark});
    std::vector<char*> arguments;
    for (std::string& each : flags) {
        arguments.push_back(each.data());
    }
    arguments.push_back(nullptr);
    int ends[2]{};
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return 0;
    }
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    pid_t gateway = 0;
    const int fault = ::posix_spawn(&gateway, own_executable, &files, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
    FILE* said = ::fdopen(ends[0], "r");
    int worker = 0;
    if (fault == 0 && std::fscanf(said, "%d", &worker) == 1 && eventually(when)) {
        ::kill(gateway, SIGKILL);
        ::waitpid(gateway, nullptr, 0);
    }
    std::fclose(said);
    return worker;
}

TEST_F(isolation, a_killed_gateway_leaves_nothing_behind)
{
    const pid_t worker =
        kill_a_gateway(mark, {"--child", "--daemon"}, [&] { return !marked(mark, "health").empty(); });
    ASSERT_GT(worker, 0);
    const pid_t child = std::stoi(marked(mark, "child").at(0));
    const pid_t stray = std::stoi(marked(mark, "daemon").at(0));
    EXPECT_TRUE(eventually([&] { return is_gone(worker); }));
    EXPECT_TRUE(eventually([&] { return is_gone(child); }));
    EXPECT_TRUE(eventually([&] { return is_gone(stray); }));
    EXPECT_THAT(marked(mark, "term"), Contains(std::to_string(worker))) << "it was asked first";
}

TEST_F(isolation, a_killed_gateway_leaves_not_even_one_that_ignores_sigterm)
{
    const pid_t worker =
        kill_a_gateway(mark, {"--ignore-term"}, [&] { return !marked(mark, "health").empty(); });
    ASSERT_GT(worker, 0);
    EXPECT_TRUE(eventually([&] { return is_gone(worker); }));
    EXPECT_EQ(marked(mark, "term").size(), 1U);
}

TEST_F(isolation, a_gateway_killed_during_a_start_leaves_nothing_behind)
{
    const pid_t worker = kill_a_gateway(mark, {"--wait-for", folder.file("never")}, [] { return true; });
    ASSERT_GT(worker, 0);
    EXPECT_TRUE(eventually([&] { return is_gone(worker); }));
}

} // namespace
} // namespace gw::workers
