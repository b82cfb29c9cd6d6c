// Flags, subcommands, exit codes: 0; 1 runtime failure; 2 bad flags or bad configuration. Everything else is
// elsewhere.
#include "auth/keys.hpp"
#include "config/load.hpp"
#include "config/values.hpp"
#include "explain.hpp"
#include "policy/decide.hpp"
#include "runtime/runtime.hpp"
#include "telemetry/log.hpp"
#include "upstream/hub_client.hpp"
#include "ways.hpp"
#include "workers/launcher.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/prctl.h>
#include <unistd.h>
#include <utility>

namespace {

constexpr int runtime_failure = 1;
constexpr int bad_usage = 2;
constexpr const char* version = FOURWAYS_VERSION;

void print(const std::vector<gw::config::problem>& problems)
{
    for (const auto& each : problems) {
        std::fprintf(stderr, "%s\n", gw::config::to_string(each).c_str());
    }
    if (problems.size() > 1) {
        std::fprintf(stderr, "%zu problems\n", problems.size());
    }
}

gw::config::loaded load(
    const std::string& file,
    const gw::config::overrides& flags,
    const gw::config::environment& env = gw::config::process_environment()
)
{
    return file.empty() ? gw::config::load_default(env, flags) : gw::config::load_file(file, env, flags);
}

// Standard streams that are closed would become those of the first connections, and records would go there.
void open_standard_streams()
{
    for (int each = STDIN_FILENO; each <= STDERR_FILENO; ++each) {
        if (::fcntl(each, F_GETFD) < 0) {
            (void)::open("/dev/null", O_RDWR); // the lowest that is free: this one
        }
    }
}

int serve(
    const std::string& file, const gw::config::overrides& flags, unsigned threads, const std::string& level
)
{
    ::prctl(PR_SET_DUMPABLE, 0); // no core file, no /proc/PID/environ for others: tokens are inside
    gw::telemetry::set_log_level(
        level == "debug"     ? gw::telemetry::level::debug
        : level == "warning" ? gw::telemetry::level::warning
                             : gw::telemetry::level::info
    );
    auto env = gw::config::process_environment();
    auto first = load(file, flags, env);
    if (!first) {
        print(first.error());
        return bad_usage;
    }
    gw::config::hide_secrets(**first);
    gw::runtime::options how{
        .config = file,
        .flags = flags,
        .threads = threads,
        .executable = "/proc/self/exe",
        .version = version,
        .environment = std::move(env)
    };
    gw::runtime::runtime gateway(std::move(how), std::move(*first));
    return gateway.run();
}

int check(const std::string& file)
{
    auto loaded = load(file, {});
    if (!loaded) {
        print(loaded.error());
        return bad_usage;
    }
    std::printf(
        "%s: ok, %zu upstreams, %zu models\n",
        file.c_str(),
        (*loaded)->upstreams.size(),
        (*loaded)->models.size()
    );
    for (const auto& each : (*loaded)->notes) {
        std::printf("note: %s\n", each.c_str());
    }
    return 0;
}

int explain(const std::string& file, const std::string& model, const std::string& task)
{
    auto loaded = load(file, {});
    if (!loaded) {
        print(loaded.error());
        return bad_usage;
    }
    const auto ask = [&now = **loaded](const std::string& name) {
        const auto place = gw::upstream::place_of(now.hub);
        return place ? gw::upstream::look_once(**place, name, version, gw::upstream::with_spaces::no).is
                     : gw::hub_answer{.what = gw::hub_says::away, .of = nullptr, .text = place.error().text};
    };
    const auto text = gw::explain(**loaded, model, task, ask);
    if (!text) {
        std::fprintf(stderr, "fourways: %s\n", text.error().text.c_str());
        return runtime_failure;
    }
    std::fputs(text->c_str(), stdout);
    return 0;
}

// The Hub of the policy, or the one that a flag names. A token stays with the origin that it was given for.
std::optional<gw::config::hub> hub_of(const gw::config::settings& now, const std::string& url)
{
    gw::config::hub made = now.hub;
    if (url.empty()) {
        return made;
    }
    auto at = gw::config::parse_url(url);
    if (!at) {
        std::fprintf(stderr, "fourways: --hub: `%s` is %s\n", url.c_str(), at.error().c_str());
        return std::nullopt;
    }
    if (at->origin != made.at.origin) {
        made.with = nullptr;
    }
    made.checks_private = false;
    made.at = std::move(*at);
    return made;
}

int ways(const std::string& file, const std::string& model, const std::string& url)
{
    auto loaded = load(file, {});
    if (!loaded) {
        print(loaded.error());
        return bad_usage;
    }
    const auto& now = **loaded;
    const auto hub = hub_of(now, url);
    if (!hub) {
        return bad_usage;
    }
    // An alias of the policy, or a name with a provider behind it, stands for a model.
    const auto named = file.empty() ? gw::result<gw::policy::resolved>(std::unexpected(gw::failure{}))
                                    : gw::policy::resolve(model, nullptr, now);
    const std::string asked = named ? named->model : model;
    if (!gw::policy::is_hub_id(asked)) {
        std::fprintf(
            stderr,
            "fourways: this is no Hugging Face id: `name` or `namespace/name` of letters, digits, `_`, `-` "
            "and `.`\n"
        );
        return bad_usage;
    }
    const auto place = gw::upstream::place_of(*hub);
    if (!place) {
        std::fprintf(stderr, "fourways: %s\n", place.error().text.c_str());
        return runtime_failure;
    }
    const auto view = gw::upstream::look_once(**place, asked, version, gw::upstream::with_spaces::yes);
    if (view.is.what != gw::hub_says::found) {
        std::fprintf(stderr, "fourways: %s\n", view.is.text.c_str());
        return runtime_failure;
    }
    std::fputs(
        gw::ways_table(*view.is.of, view.stages, file.empty() ? nullptr : &now, asked).c_str(), stdout
    );
    std::printf("\nA policy to start from:\n\n%s", gw::ways_policy(*view.is.of).c_str());
    return 0;
}

int keygen()
{
    const auto made = gw::auth::keygen();
    if (!made) {
        std::fprintf(stderr, "fourways: the system gives no random bytes\n");
        return runtime_failure;
    }
    std::printf("key     %s\npolicy  %s\n", made->key.c_str(), made->line.c_str());
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc > 1 && std::strcmp(argv[1], gw::workers::launcher_flag) == 0) {
        return gw::workers::run_launcher(argc, argv);
    }
    open_standard_streams();

    CLI::App app{"Fourways: one URL in front of the four ways to run a model from Hugging Face: serverless, "
                 "dedicated, Space, local."};
    app.set_version_flag("--version", std::string("fourways ") + version);
    app.require_subcommand(1);
    app.footer("Without a policy file, HF_TOKEN alone gives every model the serverless way.\nExamples of "
               "policies: config/examples/.");

    std::string file;
    gw::config::overrides flags;
    std::string listen;
    std::string admin;
    unsigned threads = 0;
    std::string level = "info";
    std::string model;
    std::string task;
    std::string hub;

    CLI::App* serving = app.add_subcommand("serve", "Run the gateway");
    serving->add_option("-c,--config", file, "Policy file (YAML)");
    serving->add_option(
        "--listen", listen, "HOST:PORT for clients, instead of the policy's; port 0 picks a free one"
    );
    serving->add_option(
        "--admin", admin, "HOST:PORT for metrics, health and reload, instead of the policy's"
    );
    serving->add_option("--threads", threads, "Threads; default: one per core")->check(CLI::Range(1, 1024));
    serving->add_option("--log-level", level, "What goes to stderr")
        ->check(CLI::IsMember({"debug", "info", "warning"}))
        ->capture_default_str();

    CLI::App* checking = app.add_subcommand("check", "Say everything that is wrong with a policy file");
    checking->add_option("FILE", file, "Policy file (YAML)")->required();

    CLI::App* explaining =
        app.add_subcommand("explain", "Say what would happen to a request for a model, and why");
    explaining->add_option("-c,--config", file, "Policy file (YAML)");
    explaining->add_option("-m,--model", model, "The model, as a client would name it")->required();
    explaining->add_option("-t,--task", task, "The task; default: what the policy says");

    CLI::App* looking =
        app.add_subcommand("ways", "Ask the Hub which ways to run a model there are, and why");
    looking->add_option("MODEL", model, "The model's id on the Hub, or its name in the policy")->required();
    looking->add_option("-c,--config", file, "Policy file (YAML): its `hub:`, its upstreams");
    looking->add_option("--hub", hub, "URL of the Hub, instead of the policy's; asked without its token");

    CLI::App* generating =
        app.add_subcommand("keygen", "Make a client key and the line that goes into the policy");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (argc > 1 && argv[1][0] != '-' && app.get_subcommands().empty()) {
            std::fprintf(
                stderr,
                "fourways: there is no command `%s`, but serve, check, explain, ways and keygen; --help says "
                "what they do\n",
                argv[1]
            );
            return bad_usage;
        }
        const int status = app.exit(error);
        return status == 0 ? 0 : bad_usage;
    }
    if (!listen.empty()) {
        flags.listen = listen;
    }
    if (!admin.empty()) {
        flags.admin = admin;
    }
    if (serving->parsed()) {
        return serve(file, flags, threads, level);
    }
    if (checking->parsed()) {
        return check(file);
    }
    if (explaining->parsed()) {
        return explain(file, model, task);
    }
    if (looking->parsed()) {
        return ways(file, model, hub);
    }
    if (generating->parsed()) {
        return keygen();
    }
    return bad_usage;
}
