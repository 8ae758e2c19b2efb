// A client in C++, made from the protos alone; it knows nothing else of longshore.
//
//     make
//     ./made/client 127.0.0.1:7070 127.0.0.1:7074

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "longshore/v1/error.pb.h"
#include "longshore/v1/log_service.grpc.pb.h"
#include "longshore/v1/submission_service.grpc.pb.h"

namespace batch = longshore::v1;
using Submission = batch::SubmissionService::Stub;
using Logs = batch::LogService::Stub;
using Clock = std::chrono::system_clock;

namespace {

const std::string kName = "client-cpp";
constexpr int kChildren = 3;
constexpr std::chrono::seconds kCall{30};
constexpr std::chrono::seconds kWait{90};

// A call that failed.
struct CallError : std::runtime_error {
  explicit CallError(const grpc::Status& status)
      : std::runtime_error(status.error_message()), status(status) {}
  grpc::Status status;
};

void Check(const grpc::Status& status) {
  if (!status.ok()) throw CallError(status);
}

// Says who calls, and how long a call may take. A longshore that is open takes calls without a key.
void Prepare(grpc::ClientContext& context) {
  const char* id = std::getenv("LONGSHORE_ACCESS_KEY_ID");
  const char* secret = std::getenv("LONGSHORE_SECRET_ACCESS_KEY");
  if (id && secret) {
    context.AddMetadata("authorization", std::string("Bearer ") + id + ":" + secret);
  }
  context.set_deadline(Clock::now() + kCall);
}

// Calls an operation and returns its answer.
template <typename Request, typename Response>
Response Call(Submission& stub,
              grpc::Status (Submission::*operation)(grpc::ClientContext*, const Request&, Response*),
              const Request& request) {
  grpc::ClientContext context;
  Prepare(context);
  Response response;
  Check((stub.*operation)(&context, request, &response));
  return response;
}

void AddNeed(batch::ContainerProperties& container, const char* type, const char* value) {
  auto* need = container.add_resource_requirements();
  need->set_type(type);
  need->set_value(value);
}

// Registers a definition and returns `name:revision`.
std::string Register(Submission& stub) {
  batch::RegisterJobDefinitionRequest request;
  request.set_job_definition_name(kName);
  request.set_type("container");
  auto& container = *request.mutable_container_properties();
  container.set_image("busybox:latest");
  for (const char* word : {"sh", "-c", "echo \"child ${AWS_BATCH_JOB_ARRAY_INDEX:-none}\""})
    container.add_command(word);
  AddNeed(container, "VCPU", "1");
  AddNeed(container, "MEMORY", "64");
  const auto answer = Call(stub, &Submission::RegisterJobDefinition, request);
  return answer.job_definition_name() + ":" + std::to_string(answer.revision());
}

batch::SubmitJobRequest Job(const std::string& name, const std::string& definition) {
  batch::SubmitJobRequest request;
  request.set_job_name(name);
  request.set_job_queue("default");
  request.set_job_definition(definition);
  return request;
}

// The job once it has ended.
batch::JobDetail Wait(Submission& stub, const std::string& job_id) {
  batch::DescribeJobsRequest request;
  request.add_jobs(job_id);
  for (const auto end = Clock::now() + kWait; Clock::now() < end;) {
    const auto answer = Call(stub, &Submission::DescribeJobs, request);
    if (answer.jobs_size() != 1) throw std::runtime_error(job_id + " is not there");
    const auto& job = answer.jobs(0);
    if (job.status() == "SUCCEEDED" || job.status() == "FAILED") return job;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  throw std::runtime_error(job_id + " did not end in time");
}

// The numbers of jobs on the pages of an array's children that SUCCEEDED.
std::vector<int> Pages(Submission& stub, const std::string& array_id) {
  batch::ListJobsRequest request;
  request.set_array_job_id(array_id);
  request.set_job_status("SUCCEEDED");
  request.set_max_results(2);
  std::vector<int> pages;
  do {
    const auto answer = Call(stub, &Submission::ListJobs, request);
    pages.push_back(answer.job_summary_list_size());
    request.set_next_token(answer.next_token());
  } while (!request.next_token().empty());
  return pages;
}

void PrintLog(Logs& stub, const std::string& log_stream_name) {
  grpc::ClientContext context;
  Prepare(context);
  batch::TailLogsRequest request;
  request.set_log_stream_name(log_stream_name);
  request.set_follow(true);
  const auto reader = stub.TailLogs(&context, request);
  batch::TailLogsResponse answer;
  while (reader->Read(&answer))
    for (const auto& entry : answer.entries()) std::cout << "log " << entry.text() << "\n";
  Check(reader->Finish());
}

// Prints why a call was refused, for programs and for people.
void PrintRefusal(const grpc::Status& status) {
  batch::ErrorStatus details;
  std::string reason, member;
  if (details.ParseFromString(status.error_details()) && details.details_size() == 1) {
    const auto& info = details.details(0).value();
    reason = info.reason();
    if (info.metadata().count("member")) member = info.metadata().at("member");
  }
  std::cout << "refused " << reason << " " << member << ": " << status.error_message() << "\n";
}

void Run(Submission& submission, Logs& logs) {
  const auto definition = Register(submission);
  std::cout << "registered " << definition << "\n";

  auto array = Job(kName + "-array", definition);
  array.mutable_array_properties()->set_size(kChildren);
  const auto array_id = Call(submission, &Submission::SubmitJob, array).job_id();
  auto after = Job(kName + "-after", definition);
  after.add_depends_on()->set_job_id(array_id);
  const auto after_id = Call(submission, &Submission::SubmitJob, after).job_id();
  std::cout << "array " << array_id << ", then " << after_id << "\n";

  std::cout << "after " << Wait(submission, after_id).status() << "\n";
  std::cout << "array " << Wait(submission, array_id).status() << "\n";
  for (const int size : Pages(submission, array_id)) std::cout << "page of " << size << "\n";
  PrintLog(logs, Wait(submission, array_id + ":2").container().log_stream_name());

  auto wrong = Job(kName, definition);
  wrong.set_job_queue("nowhere");
  try {
    Call(submission, &Submission::SubmitJob, wrong);
  } catch (const CallError& error) {
    PrintRefusal(error.status);
  }
}

std::shared_ptr<grpc::Channel> Connect(const char* address) {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: client SUBMISSION LOGS, each HOST:PORT\n";
    return 2;
  }
  try {
    const auto submission = batch::SubmissionService::NewStub(Connect(argv[1]));
    const auto logs = batch::LogService::NewStub(Connect(argv[2]));
    Run(*submission, *logs);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
