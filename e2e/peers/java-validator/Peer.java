import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.ValidationResult;
import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.NpmPackageValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/**
 * HL7's own validation engine (org.hl7.fhir.validation, as packaged by HAPI FHIR), in process, with the definitions of
 * R4 and terminology in memory, asked over standard input and output so that a benchmark can measure it in turn with
 * something else. It reads the files and the package before anything is measured and opens no network connection.
 *
 * <p>Arguments: the name of a package (.tgz) on the class path or "-", then the files.
 *
 * <p>Each line of input asks for one round over all files. The answer is one line: nanoseconds of CPU time of the
 * validating thread, of the whole process with its garbage collector and compiler, and the number of errors.
 */
public final class Peer {
  private Peer() {}

  public static void main(String[] args) throws Exception {
    FhirContext context = FhirContext.forR4();
    ValidationSupportChain chain =
        new ValidationSupportChain(
            new DefaultProfileValidationSupport(context),
            new InMemoryTerminologyServerValidationSupport(context),
            new CommonCodeSystemsTerminologyService(context),
            new SnapshotGeneratingValidationSupport(context));
    if (!args[0].equals("-")) {
      NpmPackageValidationSupport profiles = new NpmPackageValidationSupport(context);
      profiles.loadPackageFromClasspath("classpath:" + args[0]);
      chain.addValidationSupport(0, profiles);
    }
    FhirInstanceValidator engine = new FhirInstanceValidator(chain);
    // As the other side: extensions and profiles that nobody defined are no errors.
    engine.setAnyExtensionsAllowed(true);
    engine.setErrorForUnknownProfiles(false);
    FhirValidator validator = context.newValidator();
    validator.registerValidatorModule(engine);

    List<String> documents = new ArrayList<>();
    for (int at = 1; at < args.length; at++) {
      documents.add(Files.readString(Path.of(args[at])));
    }
    OperatingSystemMXBean process =
        ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
    ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    BufferedReader asked = new BufferedReader(new InputStreamReader(System.in));
    System.out.println("ready");
    System.out.flush();
    while (asked.readLine() != null) {
      long errors = 0;
      long whole = process.getProcessCpuTime();
      long start = threads.getCurrentThreadCpuTime();
      for (String document : documents) {
        ValidationResult result = validator.validateWithResult(document);
        errors +=
            result.getMessages().stream()
                .filter(message -> message.getSeverity().compareTo(ResultSeverityEnum.ERROR) >= 0)
                .count();
      }
      long spent = threads.getCurrentThreadCpuTime() - start;
      whole = process.getProcessCpuTime() - whole;
      System.out.println(spent + " " + whole + " " + errors);
      System.out.flush();
    }
  }
}
